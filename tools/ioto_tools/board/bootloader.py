"""The second-stage bootloader: which image it starts, in ESP-IDF's order (v5.5 bootloader_utility.c, rollback
enabled).
"""

from ..image import layout
from ..image.esp import ImageError, verify
from . import otadata


class NoBootableApp(Exception):
    """No image is bootable: the chip resets forever. The argument is the list of printed messages."""


class Bootloader:
    def __init__(self, flash, rows, chip: int = 0, revision: int = 0, rollback: bool = True) -> None:
        self.flash = flash
        self.chip = chip
        self.revision = revision
        self.rollback = rollback
        self.messages = []
        apps = [p for p in rows if p.type == layout.APP]
        self.factory = next((p for p in apps if p.subtype == layout.FACTORY), None)
        self.slots = sorted((p for p in apps if 0x10 <= p.subtype < 0x20), key=lambda p: p.subtype)
        self.data = next((p for p in rows if p.type == layout.DATA and p.subtype == layout.OTADATA), None)

    def records(self):
        return [otadata.Record.parse(self.flash.peek(self.data.address + i * 4096, 32)) for i in (0, 1)]

    def _write(self, sector, record) -> None:
        at = self.data.address + sector * 4096
        self.flash.erase(at, 4096)
        self.flash.program(at, record.raw())

    def start(self):
        """Choose the partition to run and update otadata. NoBootableApp if there is none."""
        self.messages = []
        index, initial = self._choose()
        order = list(range(index, -2, -1)) + list(range(index + 1, len(self.slots)))
        for n in order:
            partition = self.factory if n == -1 else self.slots[n] if n < len(self.slots) else None
            if partition and self._starts(partition, n):
                if initial and n >= 0:
                    self._write(0, otadata.Record.made(n + 1, otadata.VALID))
                return partition
        self.messages.append("boot: No bootable app partitions in the partition table")
        raise NoBootableApp(self.messages)

    def _starts(self, partition, n) -> bool:
        try:
            verify(self.flash.peek, partition.address, partition.size, self.chip, self.revision)
            return True
        except ImageError as e:
            self.messages.append("esp_image: %s" % e)
            name = "Factory app partition" if n == -1 else "OTA app partition slot %d" % n
            self.messages.append("boot: %s is not bootable" % name)
            return False

    def _choose(self):
        """(index of the slot to try first, -1 for factory; whether otadata must be initialized)."""
        if not self.data or not self.slots:
            return -1, False
        records = self.records()
        if self.rollback:
            for i, r in enumerate(records):
                if r.state == otadata.PENDING_VERIFY:
                    records[i] = otadata.Record(r.seq, otadata.ABORTED, r.crc)
                    self._write(i, records[i])
        if records[0].bad and records[1].bad:
            initial = all(r.blank_or_broken for r in records)
            return (-1, False) if self.factory else (0, initial)
        now = otadata.active(records)
        if now is None:
            self.messages.append("boot: ota data partition invalid and no factory, will try all partitions")
            return (-1, False) if self.factory else (0, False)
        slot = (records[now].seq - 1) % len(self.slots)
        if self.rollback and records[now].state == otadata.NEW:
            records[now] = otadata.Record(records[now].seq, otadata.PENDING_VERIFY, records[now].crc)
            self._write(now, records[now])
        return slot, False
