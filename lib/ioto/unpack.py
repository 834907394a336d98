"""Make the blocks of an image from a packed file, as its bytes arrive. Loaded only for such a file.

docs/formats.md specifies the format. Pure, except for the base, which a function reads. Everything in the file is
untrusted: UpdateError packed_malformed, and a decoder that has raised an error can't be used any more.
"""

import io
from hashlib import sha256

from deflate import RAW, DeflateIO

from .errors import UpdateError
from .packed import (
    BLOCK,
    FLUSH,
    INPUT_BYTES,
    OPERATIONS_BYTES,
    SIZES_BYTES,
    UNREAD_BYTES,
    WBITS,
    malformed,
    operations,
    sizes,
)

_PIECE = 256
_SOURCE = INPUT_BYTES + UNREAD_BYTES + len(FLUSH)

# Compiled on the board, because a .mpy file with native code would be for one kind of processor only.
_VIPER = """
@micropython.viper
def add(into: ptr8, base: ptr8, n: int):
    for i in range(n):
        into[i] = into[i] + base[i]
"""


def _plain(into, base, n):
    for i in range(n):
        into[i] = (into[i] + base[i]) & 255


def _adder():
    """add(into, base, n): add `n` bytes of `base` to those of `into`, modulo 256."""
    try:
        import micropython

        names = {"micropython": micropython}
        exec(_VIPER, names)
        return names["add"]
    except (ImportError, NameError, SyntaxError):  # the port has no native code, or no compiler
        return _plain


def check_base(header, read_base, most, buf):
    """Compare the base with the header; UpdateError base_mismatch. A generator that yields after each block.

    `most`: the bytes that read_base() can read; `buf`: a memoryview of 4096 bytes.
    """
    size = header[2]
    sha = sha256()
    for at in range(0, size if size <= most else 0, BLOCK):
        piece = buf[: min(BLOCK, size - at)]
        read_base(at, piece)
        sha.update(piece)
        yield
    if size and sha.digest() != header[3]:
        raise UpdateError("base_mismatch", "%d bytes" % size)


class Unpacker:
    """The decoder of one packed file, from block `n` on, which starts a group at byte `at` after the header.

    `header` is from packed.parse(). `read_base(at, view)` fills `view` with the base's bytes from `at` on; it is never
    called for bytes outside of the base.
    """

    def __init__(self, header, read_base, n=0, at=0):
        self.size, _, self._base_size, _, self._end = header
        self._read_base = read_base
        self.n = n
        self.at = at
        self.group = None  # (n, at) of the current group
        self._cursor = 0
        self._add = _adder()
        self._piece = memoryview(bytearray(_PIECE))
        self._operations = memoryview(bytearray(OPERATIONS_BYTES))
        # Both decoders read from the end of one buffer, so that a read beyond the input is an error.
        self._source = io.BytesIO()
        self._source.seek(_SOURCE - 1)
        self._source.write(b"\0")
        self._decoders = [DeflateIO(self._source, RAW, wbits) for wbits in WBITS]
        self._unread = [b"", b""]
        self._is_fed = [False, False]  # in the current group

    def block(self, into):
        """Make the next block in `into`, a memoryview of 4096 bytes, or less for the last block.

        A generator of memoryviews: the caller fills each one with the next bytes of the file.
        """
        head = self._piece[:SIZES_BYTES]
        yield head
        starts, *lengths = sizes(head)
        if starts:
            self._start()
        self.at += SIZES_BYTES + lengths[0] + lengths[1]
        is_last = self.n * BLOCK + len(into) >= self.size
        if not self.group or self.at > self._end or is_last and self.at != self._end:
            raise malformed("block %d ends at %d of %d" % (self.n, self.at, self._end))
        for stream, length in enumerate(lengths):
            self._source.seek(_SOURCE)
            if length:
                for piece in self._feed(stream, length):
                    yield piece
            if stream:
                self._copy(into)
            else:
                self._insert(into)
            if length:
                self._unread[stream] = self._source.read()
                if len(self._unread[stream]) > UNREAD_BYTES:
                    raise malformed("%d bytes left" % len(self._unread[stream]))
        self.n += 1

    def _start(self):
        """A group starts: its streams refer to nothing before it."""
        self.group = self.n, self.at
        self._cursor = self.n * BLOCK
        for stream in (0, 1):
            if self._is_fed[stream]:
                self._unread[stream] += FLUSH
                self._is_fed[stream] = False

    def _feed(self, stream, length):
        source = self._source
        unread = self._unread[stream]
        start = _SOURCE - length - len(unread)
        source.seek(start)
        source.write(unread)
        while length:
            piece = self._piece[: min(length, _PIECE)]
            yield piece
            source.write(piece)
            length -= len(piece)
        source.seek(start)
        self._is_fed[stream] = True

    def _read(self, stream, view):
        try:
            if not len(view) or self._decoders[stream].readinto(view) == len(view):
                return
        except (OSError, EOFError):
            pass
        raise malformed("stream %d" % stream)

    def _insert(self, into):
        """Read the block's operations and its new bytes."""
        self._read(0, self._operations[:2])
        self._length = length = self._operations[0] << 8 | self._operations[1]
        if length > OPERATIONS_BYTES:
            raise malformed("%d bytes of operations" % length)
        self._read(0, self._operations[:length])
        at = 0
        for new, copy, _ in self._each(into):
            if new:
                self._read(0, into[at : at + new])
            at += new + copy

    def _copy(self, into):
        """Read the block's differences, and add them to the base."""
        at = 0
        base = self._cursor
        for new, copy, base in self._each(into):
            at += new
            if copy:
                self._read(1, into[at : at + copy])
            while copy:
                piece = self._piece[: min(copy, _PIECE)]
                self._read_base(base, piece)
                self._add(into[at : at + len(piece)], piece, len(piece))
                at += len(piece)
                base += len(piece)
                copy -= len(piece)
        self._cursor = base

    def _each(self, into):
        return operations(self._operations[: self._length], len(into), self._cursor, self._base_size)
