"""Stock firmware for two chips: the real ESP32 one, and the same bytes as an ESP32-S3 has them (chip id, bootloader at 0)."""

import struct

from ioto_tools.image import samples
from ioto_tools.image.esp import seal

CHIPS = {"ESP32": 0, "ESP32-S3": 9}


def _for_chip(image, chip):
    return seal(image[:12] + struct.pack("<H", chip) + image[14:])


def merged(chip):
    """A whole .bin as micropython.org has it for that chip."""
    raw = samples.merged("generic")
    if chip == "ESP32":
        return raw
    number = CHIPS[chip]
    bootloader = _for_chip(raw[:0x6000], number)
    return bootloader.ljust(0x8000, b"\xff") + raw[0x7000:0xF000] + _for_chip(samples.application("generic"), number)


def changed_application(change):
    """The ESP32's whole .bin with another application: change(bytes) -> bytes, checks made right again."""
    raw = samples.merged("generic")
    return raw[:0xF000] + seal(change(samples.application("generic")))
