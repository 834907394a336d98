"""Check an image block by block while it is written to a slot, and hash the blocks that are read back.

download.py writes the blocks. A slot (board.py, linux.py) has `label`, `size` in bytes, `erase(n)`, `write(n, buf,
offset)` and `read(n, buf, offset)`, with blocks of 4096 bytes. One flash operation per turn of the loop.
"""

import asyncio
from hashlib import sha256

from .bounds import check_size
from .image import HEAD_BYTES, Walk, build_id, check

BLOCK = 4096
_BLANK = b"\xff" * HEAD_BYTES


class ImageVerifier:
    """Verifies an image of `size` bytes while it is written to `slot`.

    With `raw` (Linux), any file is accepted; otherwise only an ESP image for `chip` with this `revision`. For each
    block (a memoryview of 4096 bytes, shorter only at the end), call check_block(), erase and write the block in the
    slot, then call read_back().
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

    def check_block(self, n, block):
        """Check block `n` before it is written, and blank the image's head in it.

        UpdateError if the image is refused.
        """
        if n == 0:
            self.head = bytes(block[:HEAD_BYTES])
            if not self.walk:
                check_size(self.size, self.slot.size)
                return
            check(block, self.size, self.slot.size, self.chip, self.revision)
            self.build = build_id(block)
        if self.walk and self.walk.at < n * BLOCK + BLOCK:
            self.walk.feed(n * BLOCK, block)
            if n == 0:
                block[:HEAD_BYTES] = _BLANK

    def read_back(self, n, block):
        """Read block `n` back and hash it."""
        self.slot.read(n, block, 0)
        if n == 0 and self.walk:
            block[:HEAD_BYTES] = self.head
        self.sha.update(block)

    def matches(self, n, block):
        """Is `block` the same as block `n` in the slot, which was written before?"""
        piece = bytearray(256)
        for at in range(0, len(block), 256):
            self.slot.read(n, piece, at)
            if n == 0 and at == 0 and self.walk:
                piece[:HEAD_BYTES] = self.head
            if piece != block[at : at + 256]:
                return False
        return True

    async def reread(self, blocks, head, buf):
        """Resume a download: read and check the first `blocks` blocks, which are already in the slot."""
        self.head = head
        for n in range(blocks):
            block = memoryview(buf)[: min(BLOCK, self.size - n * BLOCK)]
            self.read_back(n, block)
            self.check_block(n, block)
            await asyncio.sleep_ms(0)

    def digest(self):
        """Hex SHA-256 of the blocks read back; UpdateError if the image's segments do not match its size."""
        if self.walk:
            self.walk.end()
        return self.sha.digest().hex()
