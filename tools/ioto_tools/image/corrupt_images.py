"""Make corrupt images with one defect each, named as in the recorded scenarios of stock firmware."""

import struct

from .esp import fix_checksums


def with_version(image: bytes, version: str) -> bytes:
    """The same application with another version string; still a valid image."""
    return fix_checksums(image[:48] + version.encode().ljust(32, b"\0") + image[80:])


def _patch(image: bytes, at: int, raw: bytes) -> bytes:
    return image[:at] + raw + image[at + len(raw) :]


def corrupt(image: bytes, how: str, room: int) -> bytes:
    """`image` with the defect `how`, for a slot of `room` bytes."""
    middle = len(image) // 2
    made = {
        "blank": lambda: b"",
        "truncated_half": lambda: image[:middle],
        "truncated_4k": lambda: image[:-4096],
        "truncated_sha": lambda: image[:-32],
        "bitflip": lambda: _patch(image, middle, bytes([image[middle] ^ 0x10])),
        "bitflip2": lambda: _patch(image, middle + 4096, bytes([image[middle + 4096] ^ 1])),
        "bad_sha": lambda: _patch(image, len(image) - 1, bytes([image[-1] ^ 1])),
        "wrong_chip": lambda: fix_checksums(_patch(image, 12, struct.pack("<H", 9))),
        "max_rev": lambda: fix_checksums(_patch(image, 17, struct.pack("<H", 99))),
        "wrong_magic": lambda: _patch(image, 0, b"\xe8"),
        "zero_segments": lambda: _patch(image, 1, b"\0"),
        "oversize": lambda: _grow(image, room + 16),
        "fits_exactly": lambda: _grow(image, room),
        "text": lambda: b"This is not an image. " * 200,
        "zeros": lambda: bytes(len(image)),
        "nohash": lambda: fix_checksums(_patch(image, 23, b"\0")),
        "no_description": lambda: fix_checksums(_patch(image, 32, bytes(4))),
    }[how]()
    return made


def _grow(image: bytes, size: int) -> bytes:
    """Extend the last segment until the image has `size` bytes; checksum and hash are valid."""
    at = 24
    for _ in range(image[1] - 1):
        at += 8 + struct.unpack_from("<I", image, at + 4)[0]
    end = size - 48 - at - 8
    body = image[: at + 4] + struct.pack("<I", end) + (image[at + 8 :] + bytes(size))[:end]
    return fix_checksums(body)
