"""Decode packed files as a board does, on CPython and on MicroPython: run_unpack.py LIB FOLDER.

FOLDER has bases, files and a list `cases` with lines `FILE BASE LENGTH AT BYTE`: decode the first LENGTH bytes of FILE,
with BYTE at AT unless AT is negative. Prints a line for each case: what decode() returned.
"""

import sys
from hashlib import sha256

if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])

from ioto.errors import UpdateError
from ioto.packed import BLOCK, HEADER_BYTES, parse
from ioto.unpack import Unpacker, check_base


class Short(Exception):
    """The file has ended."""


def decode(raw, base, only_from=None):
    """What a device makes of the file: "SHA-256 of the blocks, their bytes, reason". `only_from`: (n, at) of a group.

    Each block is checked to be written only by its own generator, and the base to be read only within its bounds.
    """
    sha = sha256()
    made = 0
    where = "short"
    header = None
    try:
        header = parse(raw[:HEADER_BYTES])
        for _ in check_base(header, reader(base), len(base), memoryview(bytearray(BLOCK))):
            pass
        unpacker = Unpacker(header, reader(base), *(only_from or (0, 0)))
        at = HEADER_BYTES + unpacker.at
        block = bytearray(BLOCK)
        while unpacker.n * BLOCK < unpacker.size:
            length = min(BLOCK, unpacker.size - unpacker.n * BLOCK)
            for view in unpacker.block(memoryview(block)[:length]):
                if at + len(view) > len(raw):
                    raise Short
                view[:] = raw[at : at + len(view)]
                at += len(view)
            sha.update(memoryview(block)[:length])
            made += length
            groups.add(unpacker.group)
        where = "done"
    except UpdateError as e:
        where = e.reason
    except Short:
        pass
    digest = sha.digest()
    if where == "done" and not only_from and digest != header[1]:
        where = "checksum_mismatch"
    return "%s %d %s" % ("".join(["%02x" % byte for byte in digest]), made, where)


groups = set()


def reader(base):
    def read_base(at, view):
        assert 0 <= at and len(view) and at + len(view) <= len(base), (at, len(view), len(base))
        view[:] = base[at : at + len(view)]

    return read_base


def read(path):
    with open(path, "rb") as f:
        return f.read()


def run(folder):
    with open(folder + "/cases") as f:
        for line in f:
            name, base, length, at, byte = line.split()
            raw = bytearray(read(folder + "/" + name)[: int(length)])
            if int(at) >= 0:
                raw[int(at)] = int(byte)
            yield decode(bytes(raw), read(folder + "/" + base))


if __name__ == "__main__":
    for each in run(sys.argv[2]):
        print(each)
