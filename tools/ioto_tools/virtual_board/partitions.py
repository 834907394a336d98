"""The flash operations and errors of `esp32.Partition`.

They behave as in MicroPython's ports/esp32/esp32_partition.c and ESP-IDF's partition_target.c and esp_ota_ops.c. An
error is EspError(code); the CPU's shim turns it into the port's OSError.
"""

from collections.abc import Callable

from ..image import layout
from ..image.esp import ImageError, verify
from . import otadata
from .flash import Flash

NOT_FOUND, INVALID_ARG, INVALID_SIZE, FAIL = -261, -258, -260, -1
VALIDATE_FAILED = -5379
ENOENT = -2


class EspError(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Panic(Exception):
    """The firmware aborts: a write to the running slot."""


class Partitions:
    """`running` is the partition that the bootloader started; `alive()` raises if the watchdog has expired."""

    def __init__(
        self,
        flash: Flash,
        rows: list[layout.Partition],
        running: layout.Partition,
        chip: int,
        revision: int,
        alive: Callable[[], None],
    ) -> None:
        self.flash = flash
        self.alive = alive
        self.rows = rows
        self.running = running
        self.chip = chip
        self.revision = revision
        self.apps = sorted((p for p in rows if p.type == layout.APP), key=lambda p: p.subtype)
        self.data = next((p for p in rows if p.type == layout.DATA and p.subtype == layout.OTADATA), None)
        self.factory = next((p for p in self.apps if p.subtype == layout.FACTORY), None)
        self.count = sum(0x10 <= p.subtype < 0x20 for p in self.apps)

    def boot(self) -> layout.Partition:
        """The partition that is selected to boot."""
        if not self.data:
            if self.factory and self.count:
                return self.factory
            raise EspError(ENOENT)
        records = otadata.read(self.flash, self.data)
        now = otadata.active(records)
        if now is None:
            first = self.factory or (self.apps[0] if self.apps else None)
            if first is None:
                raise EspError(ENOENT)
            return first
        slot = (records[now].seq - 1) % self.count
        return next(p for p in self.apps if p.subtype == 0x10 + slot)

    def next_update(self, start: layout.Partition) -> layout.Partition:
        """The update slot after `start`."""
        slots = [p for p in self.apps if p.subtype != layout.FACTORY]
        if not slots:
            raise EspError(ENOENT)
        later = [p for p in slots if p.subtype > start.subtype]
        return later[0] if later else slots[0]

    def set_boot(self, p: layout.Partition) -> None:
        try:
            length = verify(self.flash.peek, p.address, p.size, self.chip, self.revision)
        except ImageError:
            raise EspError(VALIDATE_FAILED)
        self.flash.clock.advance(length // 4096 * 1000)  # one blocking call that reads the whole image
        self.alive()
        if not self.data:
            raise EspError(NOT_FOUND)
        if p == self.factory:
            self.flash.erase(self.data.address, self.data.size)
            return
        slot = p.subtype - 0x10
        if p.type != layout.APP or not 0 <= slot < self.count:
            raise EspError(INVALID_ARG)
        sector, seq = otadata.next_seq(otadata.read(self.flash, self.data), slot, self.count)
        otadata.write(self.flash, self.data, sector, otadata.Record.create(seq, otadata.NEW))

    def mark_valid(self) -> None:
        if not self.data:
            raise EspError(NOT_FOUND)
        records = otadata.read(self.flash, self.data)
        now = otadata.active(records)
        if now is None or not self.count:
            raise EspError(FAIL)
        if records[now].state != otadata.VALID:
            otadata.write(self.flash, self.data, now, otadata.Record(records[now].seq, otadata.VALID, records[now].crc))

    def _range(self, p: layout.Partition, offset: int, n: int) -> int:
        """Absolute address of a range in the partition; raises the port's error if it is outside."""
        if offset > p.size:
            raise EspError(INVALID_ARG)
        if offset + n > p.size:
            raise EspError(INVALID_SIZE)
        return p.address + offset

    def read(self, p: layout.Partition, offset: int, n: int) -> bytes:
        return self.flash.read(self._range(p, offset, n), n)

    def write(self, p: layout.Partition, offset: int, raw: bytes) -> None:
        address = self._range(p, offset, len(raw))
        self._not_running(p)
        self.flash.program(address, raw)

    def erase(self, p: layout.Partition, offset: int, n: int) -> None:
        address = self._range(p, offset, n)
        if n % 4096:
            raise EspError(INVALID_SIZE)
        if offset % 4096:
            raise EspError(INVALID_ARG)
        self._not_running(p)
        self.flash.erase(address, n)

    def _not_running(self, p: layout.Partition) -> None:
        if p == self.running:
            raise Panic("abort() was called: dangerous write to 0x%x" % p.address)
