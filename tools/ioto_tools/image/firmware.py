"""MicroPython firmware files for ESP chips: a complete file, or only the application.

A complete file contains bootloader, partition table and application.
"""

import re
import struct
from dataclasses import dataclass, field
from typing import BinaryIO

from . import layout
from .esp import BOOTLOADER, CHIPS, MAGIC, ImageError, check_bytes, describe, fix_checksums, is_esp8266

FLASH_SIZES = {"1M": 1 << 20, "2M": 2 << 20, "4M": 4 << 20, "8M": 8 << 20, "16M": 16 << 20, "32M": 32 << 20}
MIN_MICROPYTHON = (1, 24)  # the oldest MicroPython that the agent supports


class FirmwareError(ValueError):
    """The file is not usable as firmware; the text gives the reason and a remedy."""


class DamagedFirmware(FirmwareError):
    """A firmware file that is damaged or cut short."""


@dataclass(frozen=True)
class Firmware:
    """`chip` is ESP-IDF's chip id; without bootloader and partition table, `bootloader` is None and `rows` is empty."""

    chip: int
    application: bytes
    bootloader: bytes | None = None
    rows: list[layout.Partition] = field(default_factory=list)

    @property
    def chip_name(self) -> str:
        return CHIPS.get(self.chip, "chip %d" % self.chip)

    @property
    def micropython(self) -> str:
        """The MicroPython version string in the application; "" if there is none."""
        found = re.search(rb"MicroPython v(\d+\.\d+[\w.+-]*)", self.application)
        return found.group(1).decode() if found else ""


def parse(data: bytes) -> Firmware:
    """Parse the content of a firmware file; FirmwareError if it is not usable."""
    if data[:4] == b"\x7fELF" or data[:4] == b"UF2\n":
        raise FirmwareError(
            "this is an %s file: use the .bin of the same build" % ("ELF" if data[1:4] == b"ELF" else "UF2")
        )
    if describe(data):
        chip = struct.unpack_from("<H", data, 12)[0]
        _check_supported(chip)
        return Firmware(chip, _verified_image(data, "the application"))
    if is_esp8266(data):
        raise FirmwareError("firmware for an ESP8266: it has no update slots and is not supported; %s" % _SUPPORTED)
    # A complete file starts with the bootloader, a flash dump with address 0.
    for start in sorted(set(BOOTLOADER.values()), reverse=True):
        rows = _read_table(data, start)
        first = next((p for p in rows if p.type == layout.APP), None)
        if first:
            return _parse_complete(data, start, rows, first)
    if data[:1] == bytes([MAGIC]) and len(data) >= 24:
        _check_supported(struct.unpack_from("<H", data, 12)[0])
        raise FirmwareError(
            "a bootloader, or an image without a partition table: use the whole firmware .bin of MicroPython"
        )
    raise FirmwareError(
        "not firmware for an ESP32: neither an application image nor a whole .bin file with a partition table"
    )


def locate_application(file: BinaryIO) -> tuple[int, int] | None:
    """(offset, size) of the application in the open `file` if it is a complete firmware file, else None.

    Leaves `file` at position 0. DamagedFirmware if the firmware file is damaged.
    """
    file.seek(0)
    data = file.read(_MAX_BYTES + 1)
    file.seek(0)
    if len(data) > _MAX_BYTES or describe(data):
        return None
    try:
        found = parse(data)
    except DamagedFirmware:
        raise
    except FirmwareError:
        return None
    return data.index(found.application), len(found.application)


_MAX_BYTES = max(FLASH_SIZES.values())
_SUPPORTED = "supported chips: %s" % ", ".join(CHIPS[chip] for chip in BOOTLOADER)


def _check_supported(chip: int) -> None:
    if chip not in BOOTLOADER:
        raise FirmwareError(
            "firmware for %s: not supported; %s" % (CHIPS.get(chip, "an unknown chip, number %d" % chip), _SUPPORTED)
        )


def _read_table(data: bytes, start: int) -> list[layout.Partition]:
    try:
        return layout.parse(data[layout.TABLE - start : layout.TABLE - start + 0xC00])
    except ValueError:
        return []


def _parse_complete(data: bytes, start: int, rows: list[layout.Partition], first: layout.Partition) -> Firmware:
    application = data[first.address - start :]
    if not describe(application):
        raise DamagedFirmware(
            "the partition table has %s at 0x%x, but there is no application: is the file cut short?"
            % (first.label, first.address)
        )
    application = _verified_image(application, "the application at 0x%x" % first.address)
    chip = struct.unpack_from("<H", application, 12)[0]
    _check_supported(chip)
    at = BOOTLOADER[chip] - start
    if at < 0 or data[at : at + 1] != bytes([MAGIC]):
        raise FirmwareError(
            "no bootloader at flash address 0x%x, where the %s expects it" % (BOOTLOADER[chip], CHIPS[chip])
        )
    return Firmware(chip, application, _verified_image(data[at : layout.TABLE - start], "the bootloader"), rows)


def _verified_image(data: bytes, what: str) -> bytes:
    chip = struct.unpack_from("<H", data, 12)[0]
    try:
        return data[: check_bytes(data, chip)]
    except ImageError as e:
        raise DamagedFirmware("%s is damaged or cut short: %s" % (what, e))


def with_flash_size(bootloader: bytes, flash_bytes: int) -> bytes:
    """The bootloader with this flash size in its header (bits 4 to 7 of byte 3), checksum and hash recomputed."""
    sizes = list(FLASH_SIZES.values())
    if flash_bytes not in sizes:
        raise FirmwareError(
            "a flash of %d bytes is not supported; supported sizes: %s" % (flash_bytes, ", ".join(FLASH_SIZES))
        )
    code = sizes.index(flash_bytes) << 4
    return fix_checksums(bootloader[:3] + bytes([bootloader[3] & 15 | code]) + bootloader[4:])


def check_micropython(firmware: Firmware) -> None:
    """FirmwareError unless the firmware is a MicroPython that the agent supports."""
    version = firmware.micropython
    if not version:
        raise FirmwareError("an application for %s, but not MicroPython" % firmware.chip_name)
    if tuple(int(n) for n in version.split(".")[:2]) < MIN_MICROPYTHON:
        raise FirmwareError("MicroPython %s: the agent needs %d.%d or later" % ((version,) + MIN_MICROPYTHON))
