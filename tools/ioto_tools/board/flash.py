"""A NOR flash chip in a file: erasing sets bits, programming clears them, and the power can go at any operation.

Times are a real chip's: 45 ms for a sector, 0.5 ms for 256 bytes programmed, 1 ms for 4 KiB read and 30 us for each call that reads.
"""

import fcntl
import mmap
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .. import private_file

SECTOR = 4096
_ERASE_US = 45000
_PROGRAM_US = 500  # each begun 256 bytes
_READ_US = 1000  # each 4 KiB
_CALL_US = 30  # of the driver


class PowerCut(Exception):
    """The power went, at the operation and the moment that were asked for."""


@dataclass
class Cut:
    """Cut the power at erase or program operation `op` (counted from 0 over the whole run): before, during or after it."""

    op: int
    when: str = "during"

    def __post_init__(self):
        if self.when not in ("before", "during", "after"):
            raise ValueError("a cut is before, during or after an operation, not %r" % self.when)


@dataclass
class Trace:
    """What happened to the chip: (kind, address, length, data when it is short), and how often it was read."""

    ops: list = field(default_factory=list)
    reads: int = 0
    read_bytes: int = 0


class Flash:
    def __init__(self, path, clock):
        self.path = Path(path)
        self.clock = clock
        self.cut = None
        self.trace = Trace()
        self._file = open(self.path, "r+b")
        self.data = mmap.mmap(self._file.fileno(), 0)
        self.size = len(self.data)

    @staticmethod
    def create(path, size, parts=()):
        """A chip of `size` bytes in a new file: erased, with `parts` (address, bytes) in it. There when whole only.

        Like what `ioto init` makes it is its owner's alone: a board's settings and token are in it.
        """
        chip = bytearray(b"\xff" * size)
        for address, raw in parts:
            chip[address : address + len(raw)] = raw
        private_file.write(path, chip)

    def close(self):
        self.data.flush()
        self.data.close()
        self._file.close()

    @contextmanager
    def powered(self):
        """While a board runs on it, no other one does; ValueError if one runs already."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError("%s: a virtual board runs on this flash file already: end that one first" % self.path) from None
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def peek(self, address, n):
        """Bytes as a debugger sees them: no time, no trace."""
        return self.data[address : address + n]

    def read(self, address, n):
        self.trace.reads += 1
        self.trace.read_bytes += n
        self.clock.advance(_CALL_US + _READ_US * n // SECTOR)
        return self.data[address : address + n]

    def erase(self, address, n):
        """`n` bytes from `address`, both multiples of 4096."""
        for at in range(address, address + n, SECTOR):
            self._operate("erase", at, SECTOR, _ERASE_US, None)

    def program(self, address, raw):
        if raw:
            self._operate("program", address, len(raw), _PROGRAM_US * -(-len(raw) // 256), bytes(raw))

    def _operate(self, kind, address, n, us, raw):
        cut = self.cut if self.cut and self.cut.op == len(self.trace.ops) else None
        if cut and cut.when == "before":
            raise PowerCut
        self.trace.ops.append((kind, address, n, raw if raw and n <= 64 else None))
        self.clock.advance(us)
        done = n if not cut or cut.when == "after" else n // 2
        if raw is None:
            self.data[address : address + done] = b"\xff" * done
        else:
            self._and(address, raw[:done])
        if cut:
            raise PowerCut

    def _and(self, address, raw):
        n = len(raw)
        old = self.data[address : address + n]
        if old.count(0xFF) != n:
            both = int.from_bytes(old, "little") & int.from_bytes(raw, "little")
            raw = both.to_bytes(n, "little")
        self.data[address : address + n] = raw
