"""ESP application images: verify one as the bootloader does, describe one, build a valid one.

Format and order of the checks: ESP-IDF v5.5 esp_app_format.h and esp_image_format.c.
"""

import struct
from collections.abc import Callable
from hashlib import sha256

MAGIC = 0xE9
DESC_MAGIC = 0xABCD5432
CHIPS = {  # esp_chip_id_t of ESP-IDF
    0: "ESP32", 2: "ESP32-S2", 5: "ESP32-C3", 9: "ESP32-S3", 12: "ESP32-C2", 13: "ESP32-C6", 16: "ESP32-H2",
    18: "ESP32-P4", 20: "ESP32-C61", 23: "ESP32-C5", 25: "ESP32-H21", 28: "ESP32-H4",
}  # fmt: skip

# Where each chip's ROM looks for the bootloader (esptool targets: BOOTLOADER_FLASH_OFFSET).
BOOTLOADER = {0: 0x1000, 2: 0x1000, 5: 0, 9: 0, 12: 0, 13: 0, 16: 0, 18: 0x2000, 23: 0x2000}


class ImageError(ValueError):
    """The bootloader would reject the image; the text is what it prints after `esp_image: `."""


def xor(data: bytes) -> int:
    """XOR of all bytes, computed by repeatedly folding one big integer in half."""
    n = 1 << max(0, (len(data) - 1).bit_length())
    value = int.from_bytes(data, "little")
    while n > 1:
        n //= 2
        value = (value >> (8 * n)) ^ (value & ((1 << (8 * n)) - 1))
    return value


def verify(
    read: Callable[[int, int], bytes], address: int, room: int, chip: int = 0, revision: int | None = None
) -> int:
    """Verify the image at flash `address` as set_boot() and the bootloader do; returns its length in bytes.

    `read(address, n)` returns bytes of the flash; `room` is the partition's size; `revision` is the chip's, major * 100
    + minor. ImageError if the image is invalid.
    """
    head = read(address, 24)
    if head[0] != MAGIC:
        hint = " (nothing flashed here?)" if head[0] == 0xFF else ""
        raise ImageError("image at 0x%x has invalid magic byte%s" % (address, hint))
    if struct.unpack_from("<H", head, 12)[0] != chip:
        raise ImageError("mismatch chip ID, expected %d, found %d" % (chip, struct.unpack_from("<H", head, 12)[0]))
    least, most = struct.unpack_from("<HH", head, 15)
    if revision is not None and least > revision:
        raise ImageError(
            "Image requires chip rev >= v%d.%d, but chip is v%d.%d" % (*divmod(least, 100), *divmod(revision, 100))
        )
    if revision is not None and most not in (0, 0xFFFF) and most < revision:
        raise ImageError(
            "Image requires chip rev <= v%d.%d, but chip is v%d.%d" % (*divmod(most, 100), *divmod(revision, 100))
        )
    if not head[1]:
        raise ImageError("image at 0x%x has no segments" % address)
    if head[1] > 16:
        raise ImageError("image at 0x%x segment count %d exceeds max 16" % (address, head[1]))
    at, checksum = 24, 0xEF
    for i in range(head[1]):
        load, length = struct.unpack("<II", read(address + at, 8))
        at += 8
        if length & 3 or length >= 1 << 24 or at + length > room:
            raise ImageError("segment %d: invalid segment length 0x%x" % (i, length))
        checksum ^= xor(read(address + at, length))
        at += length
    end = (at | 15) + 1
    found = read(address + end - 1, 1)[0]
    if found != checksum:
        raise ImageError("Checksum failed. Calculated 0x%x read 0x%x" % (checksum, found))
    if head[23] & 1:
        if end + 32 > room:
            raise ImageError("Image length %d doesn't fit in partition length %d" % (end + 32, room))
        if sha256(read(address, end)).digest() != read(address + end, 32):
            raise ImageError("Image hash failed - image is corrupt")
        end += 32
    if end > room:
        raise ImageError("Image length %d doesn't fit in partition length %d" % (end, room))
    return end


def check_bytes(image: bytes, chip: int = 0) -> int:
    """verify() for an image in memory, padded with erased flash."""
    return verify(lambda a, n: (image[a : a + n] + b"\xff" * n)[:n], 0, len(image), chip)


def describe(image: bytes) -> dict[str, str]:
    """The application description: {chip, version, project, idf, time, date, elf}; {} if there is none."""
    if len(image) < 288 or image[0] != MAGIC or struct.unpack_from("<I", image, 32)[0] != DESC_MAGIC:
        return {}

    def text(at: int, n: int) -> str:
        return image[at : at + n].split(b"\0")[0].decode("utf-8", "replace")

    return {
        "chip": CHIPS.get(struct.unpack_from("<H", image, 12)[0], "chip %d" % struct.unpack_from("<H", image, 12)[0]),
        "version": text(48, 32),
        "project": text(80, 32),
        "time": text(112, 16),
        "date": text(128, 16),
        "idf": text(144, 32),
        "elf": image[176:208].hex(),
    }


def is_esp8266(data: bytes) -> bool:
    """True if `data` starts with an ESP8266 image.

    Such an image has a header of 8 bytes without a chip id; its code is loaded to 0x401xxxxx.
    """
    if len(data) < 16 or data[0] not in (MAGIC, 0xEA) or not 1 <= data[1] <= 16:
        return False
    entry, load = struct.unpack_from("<I", data, 4)[0], struct.unpack_from("<I", data, 8)[0]
    return 0x40100000 <= entry < 0x40110000 and (
        load == 0 or 0x3FFE8000 <= load < 0x40000000 or 0x40100000 <= load < 0x40300000
    )


def fix_checksums(image: bytes) -> bytes:
    """Recompute the checksum and SHA-256 of a changed image; returns the valid image."""
    at, checksum = 24, 0xEF
    for _ in range(image[1]):
        length = struct.unpack_from("<I", image, at + 4)[0]
        checksum ^= xor(image[at + 8 : at + 8 + length])
        at += 8 + length
    end = (at | 15) + 1
    body = image[:at] + bytes(end - at - 1) + bytes([checksum])
    return body + sha256(body).digest() if image[23] & 1 else body


def make_image(
    size: int, text: str = "", chip: int = 0, version: str = "", revisions: tuple[int, int] = (0, 0)
) -> bytes:
    """Make a small valid image of `size` bytes (a multiple of 16, at least 384), with `text` in its data.

    `revisions` are the minimum and maximum of the chip's revision; 0: any.
    """
    data = size - 24 - 8 - 32 - 16
    desc = struct.pack("<II8x", DESC_MAGIC, 0) + version.encode()[:31].ljust(32, b"\0") + b"virtual".ljust(32, b"\0")
    desc += b"00:00:00".ljust(16, b"\0") + b"Jan  1 2026".ljust(16, b"\0") + b"v5.2.2".ljust(32, b"\0")
    desc += sha256(b"%s %d" % (text.encode(), size)).digest()
    desc = desc.ljust(256, b"\0")
    filler = sha256(text.encode()).digest() * (data // 32 + 1)
    head = (
        struct.pack("<BBBBI", MAGIC, 1, 2, 0x20, 0x40080000)
        + b"\xee\0\0\0"
        + struct.pack("<HBHH", chip, 0, *revisions)
        + bytes(4)
        + b"\1"
    )
    body = (
        head + struct.pack("<II", 0x3F400020, data & ~3) + (desc + text.encode().ljust(64, b"\0") + filler)[: data & ~3]
    )
    return fix_checksums(body)
