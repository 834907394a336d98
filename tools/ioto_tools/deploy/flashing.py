"""Flash firmware, the agent and files onto a board: read its current content, list the changes, then write.

A board that is in use keeps its NVS and its files; the files that are replaced are listed by name.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ..image import layout
from ..image.esp import CHIPS
from ..image.firmware import FLASH_SIZES, Firmware
from ..virtual_board import file_system as littlefs
from .copy_files import HASHES
from .flash_image import FlashImage, build

if TYPE_CHECKING:
    from .rom_loader import Loader

_BLANK = b"\xff"


class FlashError(ValueError):
    """Nothing is written to the board; the text gives the reason and a remedy."""


class LostPartition(NamedTuple):
    partition: layout.Partition
    is_empty: bool  # as far as its first 4096 bytes show


@dataclass
class Plan:
    """What flashing changes on the board; `kept` and `replaced` are names of files on it."""

    image: FlashImage
    erase: bool
    kept: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    lost: list[LostPartition] = field(default_factory=list)  # partitions of the board that the new table does not have
    notes: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """Describe the changes in lines of text."""
        for part in self.image.parts:
            yield "write 0x%06x  %8d bytes  %s" % (part.address, len(part.raw), part.what)
        nvs = self.image.partition("nvs")
        yield "%s 0x%06x  %8d bytes  NVS: Wi-Fi calibration, settings" % (
            "erase" if self.erase else "keep ",
            nvs.address,
            nvs.size,
        )
        if self.erase:
            yield "erase everything else on the chip"
        for title, names in (("keep files", self.kept), ("replace files", self.replaced)):
            if names:
                yield "%s: %s" % (title, ", ".join(names))
        for p, is_empty in self.lost:
            yield "lose  0x%06x  %8d bytes  %s: the new table has no such partition%s" % (
                p.address, p.size, p.label,
                " (it seems to be empty)" if is_empty else "; read it out first if you need it")  # fmt: skip
        yield from self.image.describe_free_space()
        yield from self.notes


def plan(
    loader: "Loader",
    firmware: Firmware,
    files: dict[str, bytes],
    flash_bytes: int | None = None,
    slot_bytes: int | None = None,
    erase: bool = False,
) -> Plan:
    """The Plan for the chip at `loader`. Writes nothing; raises FlashError or FirmwareError.

    `files` is {path: bytes}; `flash_bytes` None is the size that the chip reports.
    """
    chip, there = loader.identify()
    if chip != firmware.chip:
        raise FlashError(
            "the chip is an %s, the firmware is for %s: use the .bin file for this chip"
            % (CHIPS[chip], firmware.chip_name)
        )
    flash_bytes = flash_bytes or there
    if flash_bytes > there:
        raise FlashError("--flash-size is more than the %d MiB that this chip has" % (there >> 20))
    if flash_bytes not in FLASH_SIZES.values():
        raise FlashError(
            "the chip has %d bytes of flash: use --flash-size with one of %s" % (flash_bytes, ", ".join(FLASH_SIZES))
        )
    protected = loader.protections()
    if protected:
        raise FlashError(
            "this chip has %s enabled: flash an image made for its keys, with Espressif's tools"
            % " and ".join(protected)
        )
    rows = [] if erase else layout.with_files(_rows(loader), there)
    kept = _files(loader, rows)
    image = build(firmware, {**kept, **files}, flash_bytes, slot_bytes)
    _check_nvs_kept(loader, rows, image)
    replaced = sorted(n for n in kept if n in files and kept[n] != files[n] and n != HASHES)
    made = Plan(image, erase, sorted(set(kept) - set(files)), replaced, _lost_partitions(loader, rows))
    if not rows and not erase:
        made.notes.append("no partition table on the board: nothing to keep")
    return made


def write(loader: "Loader", made: Plan) -> None:
    """Write what the Plan lists; the chip verifies each part by its hash. Then the board starts."""
    if made.erase:
        loader.erase()
    loader.write([(part.address, part.raw) for part in made.image.parts])


def _rows(loader: "Loader") -> list[layout.Partition]:
    raw = loader.read(layout.TABLE, 0xC00)
    if raw.strip(_BLANK) == b"":
        return []
    try:
        return layout.parse(raw)
    except ValueError as e:
        raise FlashError("%s; --erase discards everything" % e)


def _files(loader: "Loader", rows: list[layout.Partition]) -> dict[str, bytes]:
    """{path: bytes} of the files on the board."""
    found = layout.file_system(rows)
    if found is None:
        return {}
    raw = loader.read(found.address, found.size)
    if raw.strip(_BLANK) == b"":
        return {}
    try:
        return littlefs.read_image(raw)
    except ValueError as e:
        raise FlashError(
            "%s (`%s`, 0x%x), so its files can't be kept (copy them with mpremote); --erase discards everything"
            % (e, found.label, found.address)
        )


def _lost_partitions(loader: "Loader", rows: list[layout.Partition]) -> list[LostPartition]:
    """The partitions that the new table drops, such as a romfs, a second file system, NVS keys, a second bootloader."""
    known = (
        layout.file_system(rows),
        next((p for p in rows if p.type == layout.DATA and p.subtype == layout.NVS), None),
    )
    has_slots = any(p.type == layout.APP and p.subtype >= layout.OTA_0 for p in rows)

    def is_known(p: layout.Partition) -> bool:
        if p.type == layout.APP:  # `factory` is the firmware if there are no update slots, otherwise something else
            return p.subtype in range(layout.OTA_0, layout.OTA_0 + 16) or not has_slots
        return p in known or p.type == layout.DATA and p.subtype in (layout.OTADATA, layout.PHY)

    return [
        LostPartition(p, loader.read(p.address, min(p.size, 4096)).strip(_BLANK) == b"")
        for p in rows
        if not is_known(p)
    ]


def _check_nvs_kept(loader: "Loader", rows: list[layout.Partition], image: FlashImage) -> None:
    """Check that the NVS is kept; FlashError if it would move, or uses more space than the new table has for it."""
    old = next((p for p in rows if p.type == layout.DATA and p.subtype == layout.NVS), None)
    new = image.partition("nvs")
    if old is None or (old.address, old.size) == (new.address, new.size):
        return
    if old.address != new.address:
        raise FlashError(
            "the board's NVS is at 0x%x, but at 0x%x in the new table; --erase discards everything"
            % (old.address, new.address)
        )
    beyond = old.size - new.size
    if beyond > 0 and loader.read(new.address + new.size, beyond).strip(_BLANK):
        raise FlashError(
            "the board's NVS uses more than the 0x%x bytes that the new table has for it; --erase discards everything"
            % new.size
        )
