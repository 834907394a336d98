"""The second-stage bootloader: choose the image to start (ESP-IDF v5.5 bootloader_utility.c, rollback enabled)."""

from ..image import layout
from ..image.esp import ImageError, verify
from . import otadata
from .flash import Flash


class NoBootableApp(Exception):
    """No image is bootable, so the chip resets forever. The argument is the list of printed messages."""


class Bootloader:
    """`messages` are the printed lines of the last start()."""

    def __init__(self, flash: Flash, rows: list[layout.Partition], chip: int = 0, revision: int = 0) -> None:
        self.flash = flash
        self.chip = chip
        self.revision = revision
        self.rollback = True
        self.messages: list[str] = []
        apps = [p for p in rows if p.type == layout.APP]
        self.factory = next((p for p in apps if p.subtype == layout.FACTORY), None)
        self.slots = sorted((p for p in apps if 0x10 <= p.subtype < 0x20), key=lambda p: p.subtype)
        self.data = next((p for p in rows if p.type == layout.DATA and p.subtype == layout.OTADATA), None)

    def records(self) -> list[otadata.Record]:
        assert self.data
        return otadata.read(self.flash, self.data)

    def start(self) -> layout.Partition:
        """Choose the partition to run and update otadata. NoBootableApp if there is none."""
        self.messages = []
        index, initial = self._choose()
        order = list(range(index, -2, -1)) + list(range(index + 1, len(self.slots)))
        for n in order:
            partition = self.factory if n == -1 else self.slots[n] if n < len(self.slots) else None
            if partition and self._is_bootable(partition, n):
                if initial and n >= 0 and self.data:
                    otadata.write(self.flash, self.data, 0, otadata.Record.create(n + 1, otadata.VALID))
                return partition
        self.messages.append("boot: No bootable app partitions in the partition table")
        raise NoBootableApp(self.messages)

    def _is_bootable(self, partition: layout.Partition, n: int) -> bool:
        try:
            verify(self.flash.peek, partition.address, partition.size, self.chip, self.revision)
            return True
        except ImageError as e:
            self.messages.append("esp_image: %s" % e)
            name = "Factory app partition" if n == -1 else "OTA app partition slot %d" % n
            self.messages.append("boot: %s is not bootable" % name)
            return False

    def _choose(self) -> tuple[int, bool]:
        """(index of the slot to try first, -1 for factory; whether otadata must be initialized)."""
        if not self.data or not self.slots:
            return -1, False
        records = self.records()
        if self.rollback:
            for i, r in enumerate(records):
                if r.state == otadata.PENDING_VERIFY:
                    records[i] = otadata.Record(r.seq, otadata.ABORTED, r.crc)
                    otadata.write(self.flash, self.data, i, records[i])
        if records[0].is_invalid and records[1].is_invalid:
            initial = all(r.is_blank_or_corrupt for r in records)
            return (-1, False) if self.factory else (0, initial)
        now = otadata.active(records)
        if now is None:
            self.messages.append("boot: ota data partition invalid and no factory, will try all partitions")
            return (-1, False) if self.factory else (0, False)
        slot = (records[now].seq - 1) % len(self.slots)
        if self.rollback and records[now].state == otadata.NEW:
            records[now] = otadata.Record(records[now].seq, otadata.PENDING_VERIFY, records[now].crc)
            otadata.write(self.flash, self.data, now, records[now])
        return slot, False
