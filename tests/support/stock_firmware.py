"""Stock firmware: the real file for the ESP32, and files for other chips made from it.

In these files, the chip id differs, and the bootloader is at 0 or 0x2000.
"""

import struct

from ioto_tools.image import samples
from ioto_tools.image.esp import fix_checksums

CHIPS = {"ESP32": 0, "ESP32-S3": 9}
NEW = {"ESP32-P4": 18, "ESP32-C5": 23}  # some other tools do not support these chips


def _for_chip(image, chip):
    return fix_checksums(image[:12] + struct.pack("<H", chip) + image[14:])


def merged(chip):
    """A .bin file with bootloader, partition table and application, as micropython.org provides it for the chip."""
    raw = samples.merged("generic")
    if chip == "ESP32":
        return raw
    return for_chip(raw, {**CHIPS, **NEW}[chip], 0x2000 if chip in NEW else 0)


def for_chip(raw, number, start):
    """The ESP32's complete .bin file `raw`, converted for the chip `number`, whose bootloader is at `start`."""
    bootloader = _for_chip(raw[:0x6000], number)
    return (
        bootloader.ljust(0x8000 - start, b"\xff")
        + raw[0x7000:0xF000]
        + _for_chip(samples.application("generic"), number)
    )


def changed_application(change):
    """The ESP32's complete .bin file with its application changed by change(bytes) -> bytes, and still valid."""
    raw = samples.merged("generic")
    return raw[:0xF000] + fix_checksums(change(samples.application("generic")))
