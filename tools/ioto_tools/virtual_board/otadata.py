"""The two otadata records, which select the slot to boot (ESP-IDF v5.5 bootloader_common_loader.c, esp_ota_ops.c)."""

import struct
import zlib
from dataclasses import dataclass

from ..image.layout import Partition
from .flash import Flash

NEW, PENDING_VERIFY, VALID, INVALID, ABORTED, UNDEFINED = 0, 1, 2, 3, 4, 0xFFFFFFFF
STATES = {
    NEW: "NEW",
    PENDING_VERIFY: "PENDING_VERIFY",
    VALID: "VALID",
    INVALID: "INVALID",
    ABORTED: "ABORTED",
    UNDEFINED: "UNDEFINED",
}
BLANK = b"\xff" * 32


def crc(seq: int) -> int:
    return zlib.crc32(struct.pack("<I", seq), 0xFFFFFFFF)


@dataclass(frozen=True)
class Record:
    """One record. `is_invalid` and `is_valid` are not opposites: a record with a wrong CRC is neither."""

    seq: int
    state: int
    crc: int

    @staticmethod
    def parse(raw: bytes) -> "Record":
        return Record(*struct.unpack("<I20xII", raw[:32]))

    @staticmethod
    def create(seq: int, state: int) -> "Record":
        return Record(seq, state, crc(seq))

    def raw(self) -> bytes:
        return struct.pack("<I20sII", self.seq, b"\xff" * 20, self.state, self.crc)

    @property
    def is_invalid(self) -> bool:
        return self.seq == 0xFFFFFFFF or self.state in (INVALID, ABORTED)

    @property
    def is_valid(self) -> bool:
        return not self.is_invalid and self.crc == crc(self.seq)

    @property
    def is_blank_or_corrupt(self) -> bool:
        return self.seq == 0xFFFFFFFF or self.crc != crc(self.seq)

    def __str__(self) -> str:
        if self.raw() == BLANK:
            return "-"
        words = "%d/%s" % (self.seq, STATES.get(self.state, self.state))
        return words if self.crc == crc(self.seq) else words + "/badcrc"


def read(flash: Flash, partition: Partition) -> list[Record]:
    """The two records in the partition `otadata`."""
    return [Record.parse(flash.peek(partition.address + i * 4096, 32)) for i in (0, 1)]


def write(flash: Flash, partition: Partition, sector: int, record: Record) -> None:
    at = partition.address + sector * 4096
    flash.erase(at, 4096)
    flash.program(at, record.raw())


def parse_words(text: str) -> list[Record]:
    """Parse two records from text such as `1/VALID -`."""
    records = []
    for word in text.split():
        if word == "-":
            records.append(Record.parse(BLANK))
            continue
        seq, state, *broken = word.split("/")
        value = next((n for n, name in STATES.items() if name == state), None)
        if value is None or broken not in ([], ["badcrc"]) or not seq.isdigit():
            raise ValueError("otadata %r: write - or SEQUENCE/STATE, with /badcrc for a wrong CRC" % word)
        records.append(Record(int(seq), value, crc(int(seq)) ^ (1 if broken else 0)))
    if len(records) != 2:
        raise ValueError("otadata %r: write two records, as in `1/VALID -`" % text)
    return records


def active(records: list[Record]) -> int | None:
    """Index of the active record, None if there is none; the first one if the sequence numbers are equal."""
    good = [i for i, r in enumerate(records) if r.is_valid]
    return max(good, key=lambda i: (records[i].seq, -i)) if good else None


def next_seq(records: list[Record], slot: int, count: int) -> tuple[int, int]:
    """(sector, sequence number) that set_boot() writes to select `slot` of `count` (esp_ota_ops.c 552-597)."""
    now = active(records)
    if now is None:
        return 0, slot + 1
    seq = (slot + 1) % count
    while seq < records[now].seq:
        seq += count
    return 1 - now, seq
