"""What a board's flash is to hold: bootloader, table, otadata, application in the first slot, and a file system."""

from dataclasses import dataclass

from ..board import files as littlefs
from ..board import layout, otadata
from ..image.firmware import BOOTLOADER, FLASH_SIZES, FirmwareError, check_micropython, sized

_ALIGN = 0x10000  # of an application slot
_LEAST_FILES = 0x20000  # the agent has some 100 KiB on a file system
SLOTS = {4 << 20: 0x1A0000}  # as stock MicroPython 1.25 needs it; larger flashes:
_LARGE = 0x270000  # as MicroPython's own tables have it


@dataclass(frozen=True)
class Part:
    address: int
    raw: bytes
    what: str


@dataclass(frozen=True)
class FlashImage:
    """`parts` in the order of their addresses; everything between them is erased flash."""

    flash_bytes: int
    rows: list
    parts: list

    def whole(self):
        """All bytes of the flash, from address 0."""
        chip = bytearray(b"\xff" * self.flash_bytes)
        for part in self.parts:
            chip[part.address : part.address + len(part.raw)] = part.raw
        return bytes(chip)

    def partition(self, label):
        return next(p for p in self.rows if p.label == label)


def rows_for(flash_bytes, image_bytes, slot_bytes=None):
    """The partition table: two slots that hold `image_bytes`, and files in what is left; FirmwareError where they don't fit."""
    name = next(k for k, v in FLASH_SIZES.items() if v == flash_bytes)
    least = -(-image_bytes // _ALIGN) * _ALIGN
    slot = slot_bytes or max(least, SLOTS.get(flash_bytes, _LARGE if flash_bytes > 4 << 20 else least))
    if slot % _ALIGN:
        raise FirmwareError("--slot-size 0x%x: a multiple of 0x%x" % (slot, _ALIGN))
    if slot < image_bytes:
        raise FirmwareError("--slot-size 0x%x: the application has %d bytes, so 0x%x at least" % (slot, image_bytes, least))
    left = flash_bytes - 0x10000 - 2 * slot
    if left < _LEAST_FILES:
        most = (flash_bytes - 0x10000 - _LEAST_FILES) // 2 // _ALIGN * _ALIGN
        remedy = "--slot-size 0x%x leaves enough" % most if most >= least else "it takes a larger flash, or a smaller build of MicroPython"
        found = "%d bytes" % left if left > 0 else "nothing"
        raise FirmwareError(
            "two slots of 0x%x bytes leave %s of %s of flash for files, 0x%x are the least: %s" % (slot, found, name, _LEAST_FILES, remedy)
        )
    return layout.ota(flash_bytes, slot)


def build(firmware, files, flash_bytes, slot_bytes=None):
    """The FlashImage of a whole firmware file and {path: bytes} of files. FirmwareError says what does not fit, and what would."""
    if firmware.bootloader is None:
        raise FirmwareError("an application alone: it takes the whole .bin, with bootloader and partition table")
    check_micropython(firmware)
    rows = rows_for(flash_bytes, len(firmware.application), slot_bytes)
    at = {p.label: p for p in rows}
    try:
        files = littlefs.build(files, at["vfs"].size)
    except ValueError as e:
        raise FirmwareError("%s; a smaller --slot-size leaves more" % e)
    records = b"".join(r.raw().ljust(4096, b"\xff") for r in otadata.from_words("1/VALID -"))
    parts = [
        Part(BOOTLOADER[firmware.chip], sized(firmware.bootloader, flash_bytes), "bootloader of %s" % firmware.chip_name),
        Part(layout.TABLE, layout.build(rows), "partition table"),
        Part(at["otadata"].address, records, "otadata: ota_0 boots"),
        Part(at["ota_0"].address, firmware.application, "MicroPython %s" % firmware.micropython),
        Part(at["vfs"].address, files, "file system"),
    ]
    return FlashImage(flash_bytes, rows, parts)
