"""Filling a slot block by block, and hashing what it holds afterwards.

A slot (board.py, linux.py) offers `label`, `size` in bytes, `erase(n)`, `write(n, buf, offset)`, `read(n, buf, offset)`
over blocks of 4096 bytes. One flash operation a turn of the loop.
"""

import asyncio
from hashlib import sha256

from .errors import UpdateError
from .image import HEAD_BYTES, Walk, build_id, check, fits

BLOCK = 4096
_BLANK = b"\xff" * HEAD_BYTES


class Writer:
    """Writes an image of `size` bytes into `slot`; `raw` is any file at all (Linux), else an ESP image for `chip`.

    The caller owns the one 4096-byte buffer; write() leaves in it what the slot then holds.
    """

    def __init__(self, slot, size, chip, raw=False):
        self.slot = slot
        self.size = size
        self.chip = chip
        self.head = None
        self.build = ""
        self.sha = sha256()
        self.walk = None if raw else Walk(size)

    def preflight(self, block):
        """Everything that the first block can say, before the first erase."""
        if self.walk:
            check(block, self.size, self.slot.size, self.chip)
            self.build = build_id(block)
        else:
            fits(self.size, self.slot.size)

    async def write(self, n, block):
        """Block `n` from the memoryview `block` (shorter only at the end): erase, program, read back, hash."""
        if n == 0:
            self.preflight(block)
            self.head = bytes(block[:HEAD_BYTES])
        if self.walk:
            self.walk.feed(n * BLOCK, block)
            if n == 0:
                block[:HEAD_BYTES] = _BLANK
        slot = self.slot
        slot.erase(n)
        await asyncio.sleep_ms(0)
        slot.write(n, block, 0)
        await asyncio.sleep_ms(0)
        self._read(n, block)

    def _read(self, n, block):
        self.slot.read(n, block, 0)
        if n == 0 and self.walk:
            block[:HEAD_BYTES] = self.head
        self.sha.update(block)

    async def reread(self, blocks, head, buf):
        """Take up a download again: hash the first `blocks` blocks that the slot holds already."""
        self.head = head
        for n in range(blocks):
            block = memoryview(buf)[: min(BLOCK, self.size - n * BLOCK)]
            self._read(n, block)
            if n == 0:
                self.preflight(block)
            if self.walk:
                self.walk.feed(n * BLOCK, block)
            await asyncio.sleep_ms(0)

    def digest(self):
        """Hex SHA-256 of what was read back; UpdateError if the image's own account does not add up."""
        if self.walk:
            self.walk.end()
        return self.sha.digest().hex()


def seal(slot, head):
    """Program the first 16 bytes, which make the image startable, and see that they are there."""
    slot.write(0, head, 0)
    found = bytearray(HEAD_BYTES)
    slot.read(0, found, 0)
    if found != head:
        raise UpdateError("flash_failed", "the first bytes of %s do not hold" % slot.label)
