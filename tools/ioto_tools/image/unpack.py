"""Unpack a packed file, to check it: the whole file in memory, each group with decoders of its own.

The decoder for boards is lib/ioto/unpack.py; their results are compared by tests/pure/test_unpack.py.
"""

import zlib
from hashlib import sha256

from ioto import packed
from ioto.errors import UpdateError

from .pack import PackError


def unpack(raw: bytes, base: bytes = b"") -> bytes:
    """The image of the packed file `raw`. PackError if the file is not valid, or made for another base."""
    if not packed.is_packed(raw):
        raise PackError("not a packed file: `ioto pack` makes one")
    try:
        size, sha, base_size, base_sha, body = packed.parse(raw[: packed.HEADER_BYTES])
        if base_size and (len(base) != base_size or sha256(base).digest() != base_sha):
            raise PackError("made for another base: give the image with the SHA-256 %s" % base_sha.hex())
        if len(raw) != packed.HEADER_BYTES + body:
            raise PackError("%d bytes, its header says %d" % (len(raw), packed.HEADER_BYTES + body))
        new = _body(raw[packed.HEADER_BYTES :], size, base if base_size else b"")
    except (UpdateError, zlib.error) as e:
        raise PackError("corrupt: %s" % e) from e
    if sha256(new).digest() != sha:
        raise PackError("corrupt: the result has another SHA-256 than its header says")
    return new


def _body(raw: bytes, size: int, base: bytes) -> bytes:
    new = bytearray()
    at = 0
    streams: list[_Stream] = []
    while len(new) < size:
        starts, *sizes = packed.sizes(raw[at : at + packed.SIZES_BYTES].ljust(packed.SIZES_BYTES, b"\0"))
        at += packed.SIZES_BYTES
        if starts:
            for stream in streams:
                stream.end()
            streams = [_Stream(wbits) for wbits in packed.WBITS]
            cursor = len(new)
        if not streams:
            raise PackError("corrupt: the first block starts no group")
        for stream, n in zip(streams, sizes, strict=True):
            stream.raw += raw[at : at + n]
            at += n
        block, cursor = _block(streams, min(packed.BLOCK, size - len(new)), cursor, base)
        new += block
    for stream in streams:
        stream.end()
    if at != len(raw):
        raise PackError("corrupt: %d bytes of %d used" % (at, len(raw)))
    return bytes(new)


def _block(streams: "list[_Stream]", length: int, cursor: int, base: bytes) -> tuple[bytes, int]:
    """(a block of `length` bytes, the cursor after it)."""
    control, differences = streams
    size = int.from_bytes(control.read(2), "big")
    if size > packed.OPERATIONS_BYTES:
        raise PackError("corrupt: %d bytes of operations" % size)
    block = b""
    at = cursor
    for new, copy, at in packed.operations(control.read(size), length, cursor, len(base)):
        block += control.read(new)
        pairs = zip(differences.read(copy), base[at : at + copy], strict=True)
        block += bytes([(a + b) & 255 for a, b in pairs])
    return block, at


class _Stream:
    """One stream of a group."""

    def __init__(self, wbits: int) -> None:
        self._inflate = zlib.decompressobj(-wbits)
        self.raw = b""  # not inflated yet

    def read(self, n: int) -> bytes:
        """The next `n` bytes; PackError if the input ends before them."""
        found = self._next(n) if n else b""
        if len(found) != n:
            raise PackError("corrupt: a stream ends too early")
        return found

    def end(self) -> None:
        """PackError if there is content that no block used."""
        self.raw += packed.FLUSH
        if self._next(1):
            raise PackError("corrupt: a stream has more than its blocks use")

    def _next(self, most: int) -> bytes:
        """At most `most` bytes: without the limit, a small file could make any number of bytes."""
        found = self._inflate.decompress(self.raw, most)
        self.raw = self._inflate.unconsumed_tail
        return found
