"""Corrupt a signed release or its key, with the same random numbers on CPython and MicroPython.

corrupt_release.py LIB SEED COUNT, with envelope and key in hex on standard input, prints as JSON how often each reason
was given.
"""

import json
import sys

if sys.implementation.name == "micropython":
    sys.path.insert(0, sys.argv[1])
from ioto import pss, release
from ioto.errors import REASONS, UpdateError

BOARD = {"product": "P1", "offered": "1.2.0", "version": "1.0.0", "chip": None, "image": None, "now": None, "floor": ""}


class Random:
    """Knuth's MMIX generator, which is the same on every interpreter."""

    def __init__(self, seed):
        self.state = seed

    def below(self, n):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
        return (self.state >> 33) % n


def decided(block, keys):
    """The manifest that the agent would accept, or the reason for its refusal."""
    try:
        found = release.unwrap(block)
        for _ in release.verify(found, keys):
            pass
        said = found and release.parse(found[0])
        if said:
            release.check(said, **BOARD)
        return said
    except UpdateError as e:
        assert e.reason in REASONS
        return e.reason


def damaged(random, raw, first, last):
    """`raw` with one to three changes between two offsets.

    Each change flips a bit, replaces, removes or inserts a byte, exchanges two bytes, or truncates.
    """
    raw = bytearray(raw)
    for _ in range((1, 1, 1, 2, 3)[random.below(5)]):
        if len(raw) <= first:
            break
        at, other = [first + random.below(min(last, len(raw)) - first) for _ in range(2)]
        kind = random.below(6)
        if kind == 0:
            raw[at] ^= 1 << random.below(8)
        elif kind == 1:
            raw[at] = random.below(256)
        elif kind == 2:
            raw = raw[:at] + raw[at + 1 :]
        elif kind == 3:
            raw = raw[:at] + bytes([random.below(256)]) + raw[at:]
        elif kind == 4:
            raw[at], raw[other] = raw[other], raw[at]
        elif random.below(20) == 0:
            raw = raw[: max(at, first + 1)]
    return bytes(raw)


def run(block, der, seed, count):
    """{reason: number} of `count` corruptions; asserts that none is accepted or raises another exception."""
    random = Random(seed)
    key = pss.public_key(der)
    end = 12 + int.from_bytes(block[8:10], "big") + int.from_bytes(block[10:12], "big")
    parts = ((0, 12), (8, 12), (12, end - 256), (end - 256, end), (0, 4096))
    told = {}
    for n in range(count):
        if n % 6 < 5:
            bad = damaged(random, block, *parts[n % 6])
            decided(bad, [])  # without keys, many are accepted; but no other exception is raised
            found = "unchanged" if bad == block else decided(bad, [key])
        else:
            bad = damaged(random, der, 0, len(der))
            try:
                other = pss.public_key(bad)  # a change in an unused byte does not change the key
                found = "unchanged" if other == key else decided(block, [other])
            except ValueError as e:
                found = str(e)
        assert isinstance(found, str), (n, bad)
        told[found] = told.get(found, 0) + 1
    return told


def unhex(text):
    return bytes(int(text[i : i + 2], 16) for i in range(0, len(text), 2))


if __name__ == "__main__":
    print(
        json.dumps(
            run(
                unhex(sys.stdin.readline().strip()),
                unhex(sys.stdin.readline().strip()),
                int(sys.argv[2]),
                int(sys.argv[3]),
            )
        )
    )
