"""A packed file that is being downloaded: its blocks, and the place in it at which a download resumes.

download.py loads this module only for such a file, and reads the blocks of the image from it.
"""

import asyncio
from struct import pack, unpack

from .errors import UpdateError
from .packed import BLOCK, HEADER_BYTES, parse
from .unpack import Unpacker, check_base

_GROUP = "<II"  # its first block, and its offset after the header


class PackedFile:
    """The packed file of `download`, with the header `head`; `group` is the current group, as in Unpacker."""

    def __init__(self, download, head, group=(0, 0)):
        self._download = download
        self._head = bytes(head)
        self.header = parse(self._head)
        self._group = group
        self._start = download.update["skip"] + HEADER_BYTES
        self.end = self._start + self.header[4]
        self._unpacker = None  # allocated only while in use, as Download.buf

    def at(self):
        """Offset in the file at which a download can resume."""
        return self._start + self._group[1]

    def kept(self):
        """The bytes to store with the progress, for kept()."""
        return pack(_GROUP, *self._group) + self._head

    async def start(self, reply, is_whole):
        """Make the blocks of the group again that are in the slot; UpdateError if they differ from it.

        `is_whole`: the reply starts at the start of the file.
        """
        download = self._download
        left = self.at() if is_whole else 0
        while left:
            piece = download.buf[: min(BLOCK, left)]
            await download.read(reply, piece)
            left -= len(piece)
        await self.open()
        for n in range(self._group[0], download.n):
            block = download.buf[: min(BLOCK, download.size - n * BLOCK)]
            await self.read(reply, block)
            if not download.verifier.matches(n, block):
                raise UpdateError("checksum_mismatch", "differs from block %d on" % n)

    async def open(self):
        """Make the decoder; UpdateError if the file was made for another base."""
        here = self._download.board.here

        def read_base(at, view):
            try:
                here.readblocks(at // BLOCK, view, at % BLOCK)
            except OSError:  # a flash error: another connection would not help
                raise UpdateError("base_mismatch", at)

        for _ in check_base(self.header, read_base, here.info()[3] if here else 0, self._download.buf):
            await asyncio.sleep_ms(0)
        self._unpacker = Unpacker(self.header, read_base, *self._group)

    async def read(self, reply, block):
        """Make the next block of the image in `block`. The progress is stored as soon as a group starts."""
        unpacker = self._unpacker
        try:
            for view in unpacker.block(block):
                if (unpacker.group or self._group) != self._group:
                    self._group = unpacker.group
                    self._download.keep()
                    await asyncio.sleep_ms(0)
                await self._download.read(reply, view)
        except OSError:  # the next connection needs the memory, and a new decoder
            self._unpacker = None
            raise
        await asyncio.sleep_ms(0)  # between the decoder and an erase


async def begin(download, head, said):
    """The PackedFile with the header `head`, which was just read; UpdateError if it does not fit the manifest."""
    file = PackedFile(download, head)
    size, sha = file.header[:2]
    if said and (size != said["size"] or sha != bytes.fromhex(said["sha256"])):
        raise UpdateError("manifest_mismatch", "size %d, is %d" % (said["size"], size))
    await file.open()
    if file.end != download.end:
        raise UpdateError("size_mismatch", "%d bytes in a packed file" % download.end)
    hashed = download.verifier.sha  # may have the envelope
    download.begin(size)
    download.verifier.sha = hashed
    return file


def kept(download, raw):
    """The PackedFile whose kept() is `raw`."""
    file = PackedFile(download, raw[8:], unpack(_GROUP, raw[:8]))
    download.end = file.end
    return file
