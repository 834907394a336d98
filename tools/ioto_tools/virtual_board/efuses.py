"""The eFuse registers that contain the chip's revision: the inverse of lib/ioto/revision.py."""

import struct

from ioto.revision import ROW, SYSCON_DATE, TABLE


def registers(chip: int, revision: int) -> dict[int, int]:
    """{address: word}; {} for an unknown chip."""
    row = next((TABLE[at : at + ROW] for at in range(0, len(TABLE), ROW) if TABLE[at] == chip), None)
    if row is None:
        return {}
    address = struct.unpack_from("<I", row, 1)[0]
    major, minor = divmod(revision, 100)
    found: dict[int, int] = {}
    if chip == 0:
        found[SYSCON_DATE] = (major == 3) << 31
        major = (0, 1, 3, 3)[major]
    for parts, number in ((row[5:11], minor), (row[11:], major)):
        for word, shift, bits in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
            at = address + 4 * word
            found[at] = found.get(at, 0) | (number & (1 << bits) - 1) << shift
            number >>= bits
    return found
