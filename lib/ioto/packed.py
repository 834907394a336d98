"""The packed format: parse the header, a block's sizes and its operations. Pure. docs/formats.md specifies it.

Everything in a packed file is untrusted: each function raises UpdateError packed_malformed for a value that is out of
bounds.
"""

import struct

from .errors import UpdateError

MAGIC = b"IOTO-PAK"
HEADER_BYTES = 88
BLOCK = 4096
SIZES_BYTES = 4  # in front of each block
INPUT_BYTES = 4352  # most bytes of one stream for one block
UNREAD_BYTES = 3  # most bytes of a stream that its last block of a group may leave unread
OPERATIONS_BYTES = 512  # most bytes of one block's operations
WBITS = (12, 11)  # windows of the two streams: control, differences
FLUSH = b"\0\0\xff\xff"  # ends each stream of a group, and is not in the file
_HEADER = ">8sB3sIII32s32s"
_GROUP = 0x8000


def is_packed(head):
    return bytes(head[:8]) == MAGIC


def parse(raw):
    """(size, SHA-256 of the result, size of the base, SHA-256 of the base, bytes after the header) of a header.

    Both hashes are bytes. A file without a base has zeros for it.
    """
    if len(raw) != HEADER_BYTES or not is_packed(raw):
        raise malformed("no header")
    _, version, zeros, size, base_size, body, sha, base_sha = struct.unpack(_HEADER, raw)
    if version != 1 or zeros != bytes(3):
        raise malformed("version %d" % version)
    blocks = (size + BLOCK - 1) // BLOCK
    if not size or not blocks * SIZES_BYTES < body <= blocks * (SIZES_BYTES + 2 * INPUT_BYTES):
        raise malformed("%d bytes for %d" % (body, size))
    if bool(base_size) != any(base_sha):
        raise malformed("base of %d bytes" % base_size)
    return size, sha, base_size, base_sha, body


def build(size, sha, base_size, base_sha, body):
    """The header as bytes, for parse()."""
    return struct.pack(_HEADER, MAGIC, 1, bytes(3), size, base_size, body, sha, base_sha)


def sizes(raw):
    """(does a group start here?, bytes of control, bytes of differences) from the four bytes in front of a block."""
    control, differences = struct.unpack(">HH", raw)
    starts = control & _GROUP
    control &= _GROUP - 1
    if control > INPUT_BYTES or differences > INPUT_BYTES:
        raise malformed("%d and %d bytes for a block" % (control, differences))
    return bool(starts), control, differences


def build_sizes(starts, control, differences):
    """The four bytes in front of a block, for sizes()."""
    return struct.pack(">HH", control | _GROUP * starts, differences)


def operations(raw, length, cursor, base_size):
    """Yield (new bytes, bytes to copy, their position in the base) for each operation of a block of `length` bytes.

    The last one is (remaining new bytes, 0, the cursor for the next block). `raw` has the operations, `cursor` is the
    position in the base that the first one counts from. All bytes together are `length`; each copy is inside the base.
    """
    at = 0
    left = length
    numbers = [0, 0, 0]
    while at < len(raw):
        for i in range(3):
            value = shift = 0
            while True:
                if at == len(raw) or shift > 21:
                    raise malformed("number")
                byte = raw[at]
                at += 1
                value |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            numbers[i] = value
        new, copy, move = numbers
        cursor += new + ((move >> 1) ^ -(move & 1))
        left -= new + copy
        if not copy or left < 0 or not 0 <= cursor <= base_size - copy:
            raise malformed("copy of %d bytes from %d" % (copy, cursor))
        yield new, copy, cursor
        cursor += copy
    yield left, 0, cursor + left


def build_number(value):
    """A number for operations(): seven bits a byte, the lowest first; the last byte is below 128. At most 28 bits."""
    raw = bytearray()
    while value > 127:
        raw.append(value & 127 | 128)
        value >>= 7
    raw.append(value)
    return bytes(raw)


def malformed(what):
    return UpdateError("packed_malformed", what)
