"""Stock firmware: the real ESP32 one, and the same bytes as other chips have them (chip id, bootloader at 0 or
0x2000).
"""

import struct

from ioto_tools.image import samples
from ioto_tools.image.esp import seal

CHIPS = {"ESP32": 0, "ESP32-S3": 9}
NEW = {"ESP32-P4": 18, "ESP32-C5": 23}  # not known to every other reader


def _for_chip(image, chip):
    return seal(image[:12] + struct.pack("<H", chip) + image[14:])


def merged(chip):
    """A whole .bin as micropython.org has it for that chip."""
    raw = samples.merged("generic")
    if chip == "ESP32":
        return raw
    return for_chip(raw, {**CHIPS, **NEW}[chip], 0x2000 if chip in NEW else 0)


def for_chip(raw, number, start):
    """The ESP32's whole .bin made into that of chip `number`, whose file begins with the bootloader at `start`."""
    bootloader = _for_chip(raw[:0x6000], number)
    return (
        bootloader.ljust(0x8000 - start, b"\xff")
        + raw[0x7000:0xF000]
        + _for_chip(samples.application("generic"), number)
    )


def changed_application(change):
    """The ESP32's whole .bin with another application: change(bytes) -> bytes, checks made right again."""
    raw = samples.merged("generic")
    return raw[:0xF000] + seal(change(samples.application("generic")))
