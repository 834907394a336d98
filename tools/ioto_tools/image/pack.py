"""Pack an image: compressed, or as a delta against a base. docs/formats.md specifies the format.

The file has two deflate streams with different statistics: control (operations, new bytes) and differences.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from ioto import packed

from . import matches

GROUP_BLOCKS = 32  # most blocks between two points at which a download can resume
GROUP_BYTES = 16384  # most bytes of the file between them, unless a single block has more
MOST_BYTES = 1 << 26  # of an image or a base

Progress = Callable[[int, int], None]  # bytes of the image done, bytes of the image


class PackError(ValueError):
    """An image can't be packed, or a packed file can't be unpacked; the text gives the reason."""


@dataclass
class _Copy:
    at: int  # in the image
    length: int
    base: int


def pack(new: bytes, base: bytes = b"", progress: Progress = lambda done, size: None) -> bytes:
    """The packed file that makes `new` from `base`, or without a base. PackError if one of them has no valid size."""
    if not new:
        raise PackError("the image is empty")
    for what, size in (("the image", len(new)), ("the base", len(base))):
        if size > MOST_BYTES:
            raise PackError("%s has %d bytes, at most %d are supported" % (what, size, MOST_BYTES))
    body = bytearray()
    n, count = 0, 4
    source = _Source(new, base)
    while n < len(source.copies):
        count, raw = _group(source, n, count)
        body += raw
        n += count
        progress(min(n * packed.BLOCK, len(new)), len(new))
    base_sha = sha256(base).digest() if base else bytes(32)
    return packed.build(len(new), sha256(new).digest(), len(base), base_sha, len(body)) + bytes(body)


def _group(source: "_Source", first: int, guess: int) -> tuple[int, bytes]:
    """(number of blocks, their bytes) of the group that starts at block `first`: as many blocks as GROUP_BYTES allow.

    `guess`: the number of blocks to try first.
    """
    most = min(GROUP_BLOCKS, len(source.copies) - first)
    count = min(guess, most)
    raw = source.encode(first, count)
    while count < most and len(raw) <= GROUP_BYTES:
        more = source.encode(first, count + 1)
        if len(more) > GROUP_BYTES:
            break
        count, raw = count + 1, more
    while count > 1 and len(raw) > GROUP_BYTES:
        count -= 1
        raw = source.encode(first, count)
    return count, raw


class _Source:
    """An image with the copies that its blocks make from the base."""

    def __init__(self, new: bytes, base: bytes) -> None:
        self.new = new
        self.copies: list[list[_Copy]] = [[] for _ in range(-(-len(new) // packed.BLOCK))]
        self.differences = bytearray(len(new))
        for match in matches.find(base, new) if base else ():
            at, end = match.new, match.new + match.length
            pairs = zip(new[at:end], base[match.base : match.base + match.length], strict=True)
            self.differences[at:end] = bytes([(a - b) & 255 for a, b in pairs])
            for cut in range(at // packed.BLOCK, -(-end // packed.BLOCK)):
                start = max(at, cut * packed.BLOCK)
                length = min(end, (cut + 1) * packed.BLOCK) - start
                self.copies[cut].append(_Copy(start, length, match.base + start - at))

    def encode(self, first: int, count: int) -> bytes:
        """The bytes in the file of a group of `count` blocks from block `first` on."""
        for are_apart, are_copied in ((False, True), (True, True), (True, False)):
            control, differences = self._streams(first, count, are_copied)
            parts = [_deflate(control, packed.WBITS[0], are_apart), _deflate(differences, packed.WBITS[1], are_apart)]
            if max(len(part) for stream in parts for part in stream) <= packed.INPUT_BYTES:
                break
        raw = bytearray()
        for a, b in zip(*parts, strict=True):
            raw += packed.build_sizes(not raw, len(a), len(b)) + a + b
        return bytes(raw)

    def _streams(self, first: int, count: int, are_copied: bool) -> tuple[list[bytes], list[bytes]]:
        """Each block's part of the control stream and of the differences, before deflate."""
        streams: tuple[list[bytes], list[bytes]] = ([], [])
        cursor = first * packed.BLOCK
        for n in range(first, first + count):
            copies = self.copies[n] if are_copied else []
            while True:
                operations, after = self._operations(n, copies, cursor)
                if len(operations) <= packed.OPERATIONS_BYTES:
                    break
                shortest = min(copies, key=lambda copy: copy.length)
                copies = [copy for copy in copies if copy is not shortest]
            cursor = after
            at, end = n * packed.BLOCK, min((n + 1) * packed.BLOCK, len(self.new))
            control = len(operations).to_bytes(2, "big") + operations
            for copy in copies:
                control += self.new[at : copy.at]
                at = copy.at + copy.length
            streams[0].append(control + self.new[at:end])
            streams[1].append(b"".join(self.differences[copy.at : copy.at + copy.length] for copy in copies))
        return streams

    def _operations(self, n: int, copies: list[_Copy], cursor: int) -> tuple[bytes, int]:
        """(the operations of block `n`, the cursor after it)."""
        raw = b""
        at = n * packed.BLOCK
        for copy in copies:
            cursor += copy.at - at
            move = copy.base - cursor
            numbers = copy.at - at, copy.length, move << 1 if move >= 0 else ~(move << 1)
            raw += b"".join(map(packed.build_number, numbers))
            at, cursor = copy.at + copy.length, copy.base + copy.length
        return raw, cursor + min((n + 1) * packed.BLOCK, len(self.new)) - at


def _deflate(parts: list[bytes], wbits: int, are_apart: bool) -> list[bytes]:
    """Deflate the parts of a group's stream as one; return the bytes that a decoder additionally needs for each part.

    The decoder is one that reads no byte ahead. With `are_apart`, each part is a deflate block of its own, so that it
    never needs much more than its size. The last part also has the end of the stream, except packed.FLUSH.
    """
    last = max((n for n, part in enumerate(parts) if part), default=None)
    if last is None:
        return parts
    deflate = zlib.compressobj(9, zlib.DEFLATED, -wbits, 9)
    raw = b""
    for n, part in enumerate(parts[: last + 1]):
        raw += deflate.compress(part)
        if n == last or part and are_apart:
            raw += deflate.flush(zlib.Z_SYNC_FLUSH)
    raw = raw[: -len(packed.FLUSH)]
    inflate = zlib.decompressobj(-wbits)
    found, at, wanted, made = [], 0, 0, 0
    for part in parts:
        start = at
        wanted += len(part)
        while made < wanted:
            made += len(inflate.decompress(raw[at : at + 1]))
            at += 1
        found.append(raw[start:at])
    found[last] += raw[at:]
    return found
