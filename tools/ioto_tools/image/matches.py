"""Find the parts of an image that are similar to parts of its base: HDiffPatch's matches, read from its lite format."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Match:
    """`length` bytes at `new` in the image that are similar to those at `base` in the base."""

    base: int
    new: int
    length: int


def find(base: bytes, new: bytes) -> list[Match]:
    """The matches in the order of the image; none overlap in it."""
    import hdiffpatch  # loaded only when a delta is made

    return parse(hdiffpatch.diff_lite(base, new, validate=False), len(new))


def parse(raw: bytes, size: int) -> list[Match]:
    """The matches in a diff in the format of HPatchLite, uncompressed, for an image of `size` bytes.

    Format (HPatchLite, hpatch_lite.c): "hI", the compression, the lengths of two sizes, the sizes, then the matches.
    In front of each match are the new bytes before it; after it are the differences, unless there are none.
    """
    if raw[:3] != b"hI\0":
        raise ValueError("not a diff of HPatchLite without compression")
    reader = _Reader(raw, 4 + (raw[3] & 7) + (raw[3] >> 3 & 7))
    found = []
    base = new = 0
    for _ in range(reader.number()):
        length = reader.number()
        tag = reader.byte()
        move = tag & 31
        if tag & 32:
            move = reader.number(move)
        base += -move if tag & 64 else move
        gap = reader.number()
        new += gap
        reader.at += gap
        if length:
            found.append(Match(base, new, length))
        if not tag & 128:
            reader.at += length
        base += length
        new += length
    if reader.at != len(raw) or new != size:
        raise ValueError("%d bytes of %d in a diff for %d of %d bytes" % (reader.at, len(raw), new, size))
    return found


class _Reader:
    def __init__(self, raw: bytes, at: int) -> None:
        self.raw, self.at = raw, at

    def byte(self) -> int:
        self.at += 1
        return self.raw[self.at - 1]

    def number(self, value: int = 0) -> int:
        """A number with seven bits in each byte, the highest first; the last byte is below 128."""
        while True:
            byte = self.byte()
            value = value << 7 | byte & 127
            if byte < 128:
                return value
