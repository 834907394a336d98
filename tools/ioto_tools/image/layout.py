"""Partition tables: 32-byte rows at 0x8000, followed by an MD5 row (ESP-IDF esp_flash_partitions.h)."""

import struct
from dataclasses import dataclass
from hashlib import md5

TABLE = 0x8000
APP, DATA = 0, 1
OTADATA, PHY, NVS, FACTORY, OTA_0, FAT, LITTLEFS = 0, 1, 2, 0, 0x10, 0x81, 0x83


@dataclass(frozen=True)
class Partition:
    type: int
    subtype: int
    address: int
    size: int
    label: str


def ota(
    flash_bytes: int = 4 << 20, slot_bytes: int = 0x1A0000, slots: int = 2, otadata: bool = True
) -> list[Partition]:
    """A layout for updates: nvs, otadata, phy_init, application slots, and littlefs in the rest of the flash."""
    if slot_bytes % 65536:
        raise ValueError("a slot of 0x%x bytes: the size must be a multiple of 0x10000" % slot_bytes)
    rows = [Partition(DATA, NVS, 0x9000, 0x4000, "nvs")]
    if otadata:
        rows.append(Partition(DATA, OTADATA, 0xD000, 0x2000, "otadata"))
    rows.append(Partition(DATA, PHY, 0xF000, 0x1000, "phy_init"))
    at = 0x10000
    for n in range(slots):
        rows.append(Partition(APP, OTA_0 + n, at, slot_bytes, "ota_%d" % n))
        at += slot_bytes
    return rows + [_files_partition(at, flash_bytes)]


def stock(flash_bytes: int = 4 << 20) -> list[Partition]:
    """A layout without update slots: one factory application."""
    return [
        Partition(DATA, NVS, 0x9000, 0x6000, "nvs"),
        Partition(DATA, PHY, 0xF000, 0x1000, "phy_init"),
        Partition(APP, FACTORY, 0x10000, 0x1F0000, "factory"),
        _files_partition(0x200000, flash_bytes),
    ]


def _files_partition(at: int, flash_bytes: int) -> Partition:
    if flash_bytes - at < 8 * 4096:
        raise ValueError(
            "a flash of %d bytes leaves %d for files; at least 32768 are needed" % (flash_bytes, flash_bytes - at)
        )
    return Partition(DATA, LITTLEFS, at, flash_bytes - at, "vfs")


def with_files(rows: list[Partition], flash_bytes: int) -> list[Partition]:
    """`rows`, plus the partition `vfs` that MicroPython adds at startup if the table has no file system.

    The tables of MicroPython 1.27 and later have none: the file system is in the space after the last partition
    (ports/esp32/main.c, boardctrl_startup()). `flash_bytes` is the size of the chip, not the size in the bootloader's
    header.
    """
    end = max((p.address + p.size for p in rows), default=flash_bytes)
    if file_system(rows) or end >= flash_bytes:
        return rows
    return rows + [Partition(DATA, FAT, end, flash_bytes - end, "vfs")]


def file_system(rows: list[Partition]) -> Partition | None:
    """The partition that MicroPython mounts at `/`, or None (ports/esp32/modules/flashbdev.py)."""
    return next((p for label in ("vfs", "ffat") for p in rows if p.type == DATA and p.label == label), None)


def build(rows: list[Partition]) -> bytes:
    """The partition table as 0xC00 bytes, including the MD5 row."""
    raw = b""
    for p in rows:
        raw += struct.pack("<HBBII16sI", 0x50AA, p.type, p.subtype, p.address, p.size, p.label.encode(), 0)
    return (raw + b"\xeb\xeb" + b"\xff" * 14 + md5(raw).digest()).ljust(0xC00, b"\xff")


def parse(raw: bytes) -> list[Partition]:
    """The rows of a table; ValueError if it is not a table or its MD5 is wrong."""
    rows = []
    for at in range(0, len(raw) - 31, 32):
        row = raw[at : at + 32]
        if row[:2] == b"\xaa\x50":
            _, kind, subtype, address, size, label, _ = struct.unpack("<HBBII16sI", row)
            rows.append(Partition(kind, subtype, address, size, label.split(b"\0")[0].decode()))
        elif row[:2] == b"\xeb\xeb":
            if row[16:] != md5(raw[:at]).digest():
                raise ValueError("partition table: wrong MD5")
            return rows
        else:
            break
    if not rows:
        raise ValueError("partition table: none at 0x8000")
    return rows
