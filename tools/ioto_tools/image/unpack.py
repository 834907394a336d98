"""Unpack a packed file, to check it: the whole file in memory, each group with decoders of its own.

The decoder for boards is lib/ioto/unpack.py; their results are compared by tests/packed.
"""

import zlib
from hashlib import sha256

from ioto import packed
from ioto.errors import UpdateError

from .pack import PackError

_FINAL = b"\1\0\0\xff\xff"  # an empty stored block that ends a deflate stream


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
            stream.begin(raw[at : at + n])
            at += n
        block, cursor = _block(streams, min(packed.BLOCK, size - len(new)), cursor, base)
        for stream in streams:
            stream.end_block()
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
    """One stream of a group. It reads no byte ahead, as a board: a few bytes in the wrong block are noticed too."""

    def __init__(self, wbits: int) -> None:
        self._inflate = zlib.decompressobj(-wbits)
        self._made = b""  # content that no block has used yet
        self._unread = b""
        self._raw = b""  # what a block can read
        self._is_fed = False

    def begin(self, raw: bytes) -> None:
        """`raw` are the bytes for the next block."""
        self._raw = b""
        if raw:
            self._raw, self._unread = self._unread + raw, b""
            self._is_fed = True

    def read(self, n: int) -> bytes:
        """The next `n` bytes of content; PackError if the input ends before them."""
        at = 0
        while len(self._made) < n and at < len(self._raw):
            self._made += self._inflate.decompress(self._raw[at : at + 1])
            at += 1
        self._raw = self._raw[at:]
        if len(self._made) < n:
            raise PackError("corrupt: a stream ends too early")
        found, self._made = self._made[:n], self._made[n:]
        return found

    def end_block(self) -> None:
        """PackError if too many bytes are left."""
        self._unread += self._raw
        if len(self._unread) > packed.UNREAD_BYTES:
            raise PackError("corrupt: a block does not need %d of its bytes" % len(self._unread))

    def end(self) -> None:
        """PackError if there is content that no block used, or if the group does not end with a flush."""
        if not self._is_fed:
            return
        found = self._made + self._inflate.decompress(self._unread + packed.FLUSH + _FINAL)
        if found or not self._inflate.eof or self._inflate.unused_data:
            raise PackError("corrupt: a stream has more than its blocks use")
