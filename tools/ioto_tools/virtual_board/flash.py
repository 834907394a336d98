"""A NOR flash chip in a file: erasing sets bits, programming clears them, and power can be cut at any operation.

The operations take as long as on a real chip: 45 ms to erase a sector, 0.5 ms to program 256 bytes, 1 ms to read
4 KiB plus 30 us per read call.
"""

import fcntl
import mmap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from .. import private_file
from .clock import Clock

SECTOR = 4096
_ERASE_US = 45000
_PROGRAM_US = 500  # per 256 bytes, rounded up
_READ_US = 1000  # per 4 KiB
_CALL_US = 30  # per read call of the driver


class PowerCut(Exception):
    """Power was cut at the requested operation."""


@dataclass
class Cut:
    """Cut the power before, during or after erase or program operation `op`, counted from 0 over the whole run."""

    op: int
    when: str = "during"

    def __post_init__(self) -> None:
        if self.when not in ("before", "during", "after"):
            raise ValueError("cut %r: use before, during or after" % self.when)


class Operation(NamedTuple):
    kind: str  # erase or program
    address: int
    length: int
    data: bytes | None  # the bytes of a program operation of at most 64 bytes, else None


@dataclass
class Trace:
    """The operations on the chip, and the number of reads."""

    ops: list[Operation] = field(default_factory=list)
    reads: int = 0
    read_bytes: int = 0


class Flash:
    """The chip in the file `path`; `clock` advances with each operation."""

    def __init__(self, path: str | Path, clock: Clock) -> None:
        self.path = Path(path)
        self.clock = clock
        self.cut: Cut | None = None
        self.trace = Trace()
        self._file = open(self.path, "r+b")
        self.data = mmap.mmap(self._file.fileno(), 0)
        self.size = len(self.data)

    @staticmethod
    def create(path: str | Path, size: int, parts: Iterable[tuple[int, bytes]] = ()) -> None:
        """Create the file of a chip of `size` bytes, atomically: erased, with `parts` [(address, bytes)] written.

        Only its owner can read it, like the files of `ioto init`: it contains a board's settings and token.
        """
        chip = bytearray(b"\xff" * size)
        for address, raw in parts:
            chip[address : address + len(raw)] = raw
        private_file.write(path, bytes(chip))

    def close(self) -> None:
        self.data.flush()
        self.data.close()
        self._file.close()

    @contextmanager
    def powered(self) -> Iterator[None]:
        """Lock the flash file for one running board; ValueError if another one is running."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                "%s: another virtual board is running on this flash file: stop that one first" % self.path
            ) from None
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def peek(self, address: int, n: int) -> bytes:
        """Read as a debugger would: takes no time and is not traced."""
        return self.data[address : address + n]

    def read(self, address: int, n: int) -> bytes:
        self.trace.reads += 1
        self.trace.read_bytes += n
        self.clock.advance(_CALL_US + _READ_US * n // SECTOR)
        return self.data[address : address + n]

    def erase(self, address: int, n: int) -> None:
        """Erase `n` bytes from `address`, both multiples of 4096."""
        for at in range(address, address + n, SECTOR):
            self._operate("erase", at, SECTOR, _ERASE_US, None)

    def program(self, address: int, raw: bytes) -> None:
        """Clear the bits that are 0 in `raw`, from `address`."""
        if raw:
            self._operate("program", address, len(raw), _PROGRAM_US * -(-len(raw) // 256), bytes(raw))

    def _operate(self, kind: str, address: int, n: int, us: int, raw: bytes | None) -> None:
        cut = self.cut if self.cut and self.cut.op == len(self.trace.ops) else None
        if cut and cut.when == "before":
            raise PowerCut
        self.trace.ops.append(Operation(kind, address, n, raw if raw and n <= 64 else None))
        self.clock.advance(us)
        done = n if not cut or cut.when == "after" else n // 2
        if raw is None:
            self.data[address : address + done] = b"\xff" * done
        else:
            self._clear_bits(address, raw[:done])
        if cut:
            raise PowerCut

    def _clear_bits(self, address: int, raw: bytes) -> None:
        n = len(raw)
        old = self.data[address : address + n]
        if old.count(0xFF) != n:
            both = int.from_bytes(old, "little") & int.from_bytes(raw, "little")
            raw = both.to_bytes(n, "little")
        self.data[address : address + n] = raw
