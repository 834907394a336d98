"""Check an ESP application image while its blocks are downloaded. Pure.

Layout: ESP-IDF v5.5 esp_app_format.h and esp_image_format.c: 24 bytes of header, then segments of an 8-byte header
(load address, length) and data, padding to a checksum byte at the end of a 16-byte row, then 32 bytes of SHA-256
if the header says so. The application description is the start of the first segment's data, at offset 32.
"""

import struct

from .bounds import check_size
from .errors import UpdateError

HEAD_BYTES = 16  # not written to the slot until the swap: without its magic byte, the image can't boot
CHECK_BYTES = 288  # header, first segment header, application description

_MAGIC = 0xE9
_DESC_MAGIC = 0xABCD5432


def is_image(head):
    """UpdateError unless `head` is the start of an image."""
    if head[:16] == b"\xff" * 16:
        raise UpdateError("image_merged", "a whole flash")
    if not head or head[0] != _MAGIC:
        raise UpdateError("image_magic", bytes(head[:4]))


def check(head, size, slot_bytes, chip=None, revision=None):
    """Check the first 288 bytes of an image of `size` bytes before anything is erased.

    UpdateError if the image can't be used here. `chip` is the chip id of the running image, `revision` the revision of
    the chip (major * 100 + minor); None: not compared.
    """
    check_size(size, slot_bytes)
    is_image(head)
    if len(head) < CHECK_BYTES:
        raise UpdateError("image_malformed", "%d bytes" % len(head))
    if struct.unpack_from("<I", head, 32)[0] != _DESC_MAGIC:
        # The first segment of an application is mapped from flash: load address = 32 modulo 64 KiB. A bootloader's is
        # in RAM.
        if head[24] != 32 or head[25]:
            raise UpdateError("image_merged", "a bootloader")
        raise UpdateError("image_malformed", "no description")
    if not 0 < head[1] <= 16:
        raise UpdateError("image_malformed", "%d segments" % head[1])
    if chip is not None and head[12] | head[13] << 8 != chip:
        raise UpdateError("image_chip", "not for chip %d" % chip)
    if revision is not None and not runs_on(head, revision):
        raise UpdateError("image_revision", "not for revision %d" % revision)


def runs_on(head, revision):
    """Can a chip of this revision start the image? Same rule as ESP-IDF's bootloader_common_check_chip_validity()."""
    least, most = struct.unpack("<HH", bytes(head[15:19]))
    # An image built before IDF 4.4 has only the major number, in the preceding byte.
    return (least or head[14] * 100) <= revision and (most in (0, 0xFFFF) or revision <= most)


def build_id(head):
    """Hex of the ELF's SHA-256 in the first 288 bytes.

    The agent identifies a build by it, because MicroPython leaves the version empty.
    """
    return head[176:208].hex()


class Walk:
    """Follows the segment headers through consecutive blocks, to detect a truncated or padded file."""

    def __init__(self, size):
        self.size = size
        self.at = 24  # offset of the next segment header
        self.left = None  # remaining segments, initially from the header
        self.hashed = 0
        self._part = b""  # first bytes of a segment header that crosses two blocks

    def feed(self, offset, block):
        """Process `block`, the image's bytes from `offset` on; UpdateError if a segment is invalid or does not fit."""
        if self.left is None:
            self.left = block[1]
            self.hashed = block[23] & 1
        end = offset + len(block)
        while self.left and self.at < end:
            start = self.at + len(self._part)
            self._part += bytes(block[start - offset : self.at + 8 - offset])
            if len(self._part) < 8:
                return
            length = struct.unpack("<I", self._part[4:])[0]
            self._part = b""
            self.at += 8 + length
            self.left -= 1
            if length & 3 or self.at >= self.size:
                raise UpdateError("image_malformed", "segment ends at %d of %d" % (self.at, self.size))

    def end(self):
        """After the last block: UpdateError unless the image ends where the file does."""
        whole = (self.at | 15) + 1 + 32 * self.hashed
        if self.left or whole != self.size:
            raise UpdateError("image_malformed", "%d bytes in a file of %d" % (whole, self.size))
