"""Filling a slot block by block, and hashing what it holds afterwards.

A slot (board.py, linux.py) offers `label`, `size` in bytes, `erase(n)`, `write(n, buf, offset)`, `read(n, buf, offset)`
over blocks of 4096 bytes. One flash operation a turn of the loop.
"""

import asyncio
from hashlib import sha256

from .bounds import fits
from .errors import UpdateError
from .image import HEAD_BYTES, Walk, build_id, check

BLOCK = 4096
_BLANK = b"\xff" * HEAD_BYTES


class Writer:
    """An image of `size` bytes in `slot`; `raw` is any file at all (Linux), else an ESP image for `chip` of that `revision`.

    Block by block, a memoryview of 4096 bytes (shorter only at the end): feed() it, erase, write, look() at what is there.
    """

    def __init__(self, slot, size, chip, raw=False, revision=None):
        self.slot = slot
        self.size = size
        self.chip = chip
        self.revision = revision
        self.head = None
        self.build = ""
        self.sha = sha256()
        self.walk = None if raw else Walk(size)

    def feed(self, n, block):
        """What block `n` says of the image, before it is written: UpdateError. The image's head is blanked in it."""
        if n == 0:
            self.head = bytes(block[:HEAD_BYTES])
            if not self.walk:
                fits(self.size, self.slot.size)
                return
            check(block, self.size, self.slot.size, self.chip, self.revision)
            self.build = build_id(block)
        if self.walk and self.walk.at < n * BLOCK + BLOCK:
            self.walk.feed(n * BLOCK, block)
            if n == 0:
                block[:HEAD_BYTES] = _BLANK

    def look(self, n, block):
        """Read block `n` back and hash it."""
        self.slot.read(n, block, 0)
        if n == 0 and self.walk:
            block[:HEAD_BYTES] = self.head
        self.sha.update(block)

    def holds(self, n, block):
        """Is block `n` of the slot, which was written before, the same as `block`?"""
        piece = bytearray(256)
        for at in range(0, len(block), 256):
            self.slot.read(n, piece, at)
            if n == 0 and at == 0 and self.walk:
                piece[:HEAD_BYTES] = self.head
            if piece != block[at : at + 256]:
                return False
        return True

    async def reread(self, blocks, head, buf):
        """Resume a download: the first `blocks` blocks, which the slot holds already."""
        self.head = head
        for n in range(blocks):
            block = memoryview(buf)[: min(BLOCK, self.size - n * BLOCK)]
            self.look(n, block)
            self.feed(n, block)
            await asyncio.sleep_ms(0)

    def digest(self):
        """Hex SHA-256 of what was read back; UpdateError if the image's own account does not add up."""
        if self.walk:
            self.walk.end()
        return self.sha.digest().hex()
