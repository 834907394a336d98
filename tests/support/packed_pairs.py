"""Pairs of a base and an image, as updates change firmware. Each is made from its number; one pair is real."""

import random
from pathlib import Path

from ioto_tools.image import firmware

BUILDS = Path(
    ".build/firmware/thonnycontrib/thonny_etboard_firmware/etboard/firmware/etboard_firmware_micropython_custom_%s_last.bin"
)


def etboard():
    """(base, image): two builds of one real product, three months apart."""
    return tuple(firmware.parse(Path(str(BUILDS) % build).read_bytes()).application for build in ("0608", "0831"))


def code(rng, size):
    """Bytes with the statistics of code: words of few kinds, addresses, some text."""
    words = [rng.randbytes(4) for _ in range(60)]
    raw = bytearray()
    while len(raw) < size:
        kind = rng.random()
        if kind < 0.7:
            raw += rng.choice(words)
        elif kind < 0.9:
            raw += (0x400D0000 + 4 * rng.randrange(20000)).to_bytes(4, "little")
        elif kind < 0.97:
            raw += rng.choice((b"micropython", b"\0" * 32, b"esp32", b"value error"))
        else:
            raw += rng.randbytes(rng.randrange(40))
    return bytes(raw[:size])


def inserted(rng, base):
    raw = bytearray(base)
    for _ in range(rng.randrange(1, 20)):
        at = rng.randrange(len(raw) + 1)
        raw[at:at] = rng.randbytes(rng.choice((1, 2, 4, 100, 5000)))
    return bytes(raw)


def removed(rng, base):
    raw = bytearray(base)
    for _ in range(rng.randrange(1, 20)):
        at = rng.randrange(len(raw) + 1)
        del raw[at : at + rng.choice((1, 4, 300))]
    return bytes(raw) or b"\0"


def moved(rng, base):
    parts = sorted(rng.randrange(len(base) + 1) for _ in range(rng.randrange(1, 12)))
    pieces = [base[a:b] for a, b in zip([0, *parts], [*parts, len(base)], strict=True)]
    rng.shuffle(pieces)
    return b"".join(pieces)


def relocated(rng, base):
    """Each address is higher by the same amount, as after an insertion in the code."""
    raw = bytearray(base)
    by = 4 * rng.randrange(1, 2000)
    for at in range(0, len(raw) - 3, 4):
        word = int.from_bytes(raw[at : at + 4], "little")
        if word >> 17 == 0x400D0000 >> 17 and rng.random() < 0.95:
            raw[at : at + 4] = (word + by).to_bytes(4, "little")
    return bytes(raw)


def dense(rng, base):
    """A change every few bytes: the most operations and differences in a block."""
    raw = bytearray(base)
    step = rng.choice((9, 14, 25, 60))
    for at in range(0, len(raw), step):
        raw[at : at + rng.randrange(1, 4)] = rng.randbytes(rng.randrange(4))
    return bytes(raw) or b"\0"


def mixed(rng, base):
    raw = base
    for change in rng.sample((inserted, removed, moved, relocated, dense), 3):
        raw = change(rng, raw)
    return raw


KINDS = {
    "inserted": inserted,
    "removed": removed,
    "moved": moved,
    "relocated": relocated,
    "dense": dense,
    "mixed": mixed,
    "random": lambda rng, base: rng.randbytes(rng.randrange(1, 50000)),
    "equal": lambda rng, base: base,
    "everything changed": lambda rng, base: bytes(255 - byte for byte in base),
    "blank": lambda rng, base: bytes(rng.randrange(1, 600000)),
    "half random": lambda rng, base: base[: len(base) // 2] + rng.randbytes(len(base) // 2 + 1),
}


def pair(number):
    """(kind, base, image) of a number; each eighth pair has no base."""
    rng = random.Random(number)
    kind = list(KINDS)[number % len(KINDS)]
    size = rng.choice((1, 15, 4095, 4096, 4097, 16384, rng.randrange(1, 20000), rng.randrange(20000, 120000)))
    base = rng.randbytes(size) if number % 5 == 0 else code(rng, size)
    new = KINDS[kind](rng, base)
    return kind, b"" if number % 8 == 7 else base, new
