"""The flash operations and errors of `esp32.Partition` (MicroPython ports/esp32/esp32_partition.c, ESP-IDF
partition_target.c, esp_ota_ops.c). Errors are EspError(code); the CPU's shim turns them into the port's OSError.
"""

from ..image import layout
from ..image.esp import ImageError, verify
from . import otadata

NOT_FOUND, INVALID_ARG, INVALID_SIZE, FAIL = -261, -258, -260, -1
VALIDATE_FAILED = -5379
ENOENT = -2


class EspError(Exception):
    def __init__(self, code) -> None:
        super().__init__(code)
        self.code = code


class Panic(Exception):
    """The firmware aborts: a write to the running slot or to the first 0x9000 bytes."""


class Partitions:
    """`running` is the partition that the bootloader started; `alive()` raises if the watchdog has expired."""

    def __init__(
        self, flash, rows, running, chip: int = 0, revision: int = 0, rollback: bool = True, alive=lambda: None
    ) -> None:
        self.flash = flash
        self.alive = alive
        self.rows = rows
        self.running = running
        self.chip = chip
        self.revision = revision
        self.rollback = rollback
        self.apps = sorted((p for p in rows if p.type == layout.APP), key=lambda p: p.subtype)
        self.data = next((p for p in rows if p.type == layout.DATA and p.subtype == layout.OTADATA), None)
        self.factory = next((p for p in self.apps if p.subtype == layout.FACTORY), None)
        self.count = sum(0x10 <= p.subtype < 0x20 for p in self.apps)

    def index(self, p):
        return self.rows.index(p)

    def by_label(self, label):
        """The partition with this label: applications first, then data."""
        for kind in (layout.APP, layout.DATA):
            for p in self.rows:
                if p.type == kind and p.label == label:
                    return p
        raise EspError(ENOENT)

    def boot(self):
        if not self.data:
            if self.factory and self.count:
                return self.factory
            raise EspError(ENOENT)
        records = self._records()
        now = otadata.active(records)
        if now is None:
            first = self.factory or (self.apps[0] if self.apps else None)
            if first is None:
                raise EspError(ENOENT)
            return first
        slot = (records[now].seq - 1) % self.count
        return next(p for p in self.apps if p.subtype == 0x10 + slot)

    def next_update(self, start):
        slots = [p for p in self.apps if p.subtype != layout.FACTORY]
        if not slots:
            raise EspError(ENOENT)
        later = [p for p in slots if p.subtype > start.subtype]
        return later[0] if later else slots[0]

    def _records(self):
        return [otadata.Record.parse(self.flash.peek(self.data.address + i * 4096, 32)) for i in (0, 1)]

    def _rewrite(self, sector, record) -> None:
        at = self.data.address + sector * 4096
        self.flash.erase(at, 4096)
        self.flash.program(at, record.raw())

    def set_boot(self, p):
        try:
            length = verify(self.flash.peek, p.address, p.size, self.chip, self.revision)
        except ImageError:
            raise EspError(VALIDATE_FAILED)
        self.flash.clock.advance(length // 4096 * 1000)  # one blocking call reads the whole image
        self.alive()
        if not self.data:
            raise EspError(NOT_FOUND)
        if p == self.factory:
            self.flash.erase(self.data.address, self.data.size)
            return
        slot = p.subtype - 0x10
        if p.type != layout.APP or not 0 <= slot < self.count:
            raise EspError(INVALID_ARG)
        sector, seq = otadata.next_seq(self._records(), slot, self.count)
        self._rewrite(sector, otadata.Record.made(seq, otadata.NEW if self.rollback else otadata.UNDEFINED))

    def mark_valid(self):
        if not self.data:
            raise EspError(NOT_FOUND)
        records = self._records()
        now = otadata.active(records)
        if now is None or not self.count:
            raise EspError(FAIL)
        if records[now].state != otadata.VALID:
            self._rewrite(now, otadata.Record(records[now].seq, otadata.VALID, records[now].crc))

    def _range(self, p, offset, n):
        """Absolute address of a range in the partition; raises the port's error if it is outside."""
        if offset > p.size:
            raise EspError(INVALID_ARG)
        if offset + n > p.size:
            raise EspError(INVALID_SIZE)
        return p.address + offset

    def read(self, p, offset, n):
        return self.flash.read(self._range(p, offset, n), n)

    def write(self, p, offset, raw) -> None:
        address = self._range(p, offset, len(raw))
        self._not_running(p)
        self.flash.program(address, raw)

    def erase(self, p, offset, n):
        address = self._range(p, offset, n)
        if n % 4096:
            raise EspError(INVALID_SIZE)
        if offset % 4096:
            raise EspError(INVALID_ARG)
        self._not_running(p)
        self.flash.erase(address, n)

    def _not_running(self, p):
        if p == self.running:
            raise Panic("abort() was called: dangerous write to 0x%x" % p.address)
