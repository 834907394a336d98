"""Build the content of a board's flash.

It consists of bootloader, partition table, otadata, the application in the first slot, and the file system.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ..image import layout
from ..image.esp import BOOTLOADER
from ..image.firmware import FLASH_SIZES, Firmware, FirmwareError, check_micropython, with_flash_size
from ..virtual_board import file_system as littlefs
from ..virtual_board import otadata
from .copy_files import STATE_BYTES

_SLOT_ALIGN_BYTES = 0x10000  # alignment of an application slot
_STATE_NAME = "space for the agent's state"
_MIN_FILES_BYTES = 0x20000  # the agent takes 76 KiB of a file system
# Room for `ioto deploy` to stage a new agent beside the old one: by default, slots don't grow into it.
_DEFAULT_MIN_FILES_BYTES = 0x40000
_MIN_SLOT_BYTES = {4 << 20: 0x1A0000}  # minimum for this flash size, even if the application is small
_MIN_LARGE_SLOT_BYTES = 0x270000  # minimum for larger flashes, as in MicroPython's own tables
SPARE_PERCENT = 10  # percent of the application's size that a slot should have free for future releases


@dataclass(frozen=True)
class Part:
    address: int
    raw: bytes
    what: str


@dataclass(frozen=True)
class FlashImage:
    """The content of a flash: `parts` in the order of their addresses, and erased flash between them."""

    flash_bytes: int
    rows: list[layout.Partition]
    parts: list[Part]
    application_bytes: int
    files_bytes: int  # total size of the files

    def to_bytes(self) -> bytes:
        """All bytes of the flash, from address 0."""
        chip = bytearray(b"\xff" * self.flash_bytes)
        for part in self.parts:
            chip[part.address : part.address + len(part.raw)] = part.raw
        return bytes(chip)

    def partition(self, label: str) -> layout.Partition:
        return next(p for p in self.rows if p.label == label)

    def describe_free_space(self) -> Iterator[str]:
        """Lines about the free space in the slots and the file system, and a warning if the slots have little."""
        slot, size = self.partition("ota_0").size, self.application_bytes
        spare = slot - size
        yield "slots of 0x%x bytes: the application uses %d of %d, so a release may grow by %d (%.1f %%)" % (
            slot, size, slot, spare, 100 * spare / size)  # fmt: skip
        files = self.partition("vfs").size
        yield "file system of %d bytes: the files have %d bytes, and each of them takes a little more space" % (
            files,
            self.files_bytes,
        )
        if spare * 100 < SPARE_PERCENT * size:
            yield "warning: MicroPython grows with each version, but slots can't grow over the air: %s" % self._remedy(
                slot
            )

    def _remedy(self, slot: int) -> str:
        least = _rounded_up(self.application_bytes * (100 + SPARE_PERCENT) // 100)
        for larger in range(least, slot, -_SLOT_ALIGN_BYTES):
            left = self.flash_bytes - 0x10000 - 2 * larger
            if left >= max(_MIN_FILES_BYTES, self.files_bytes * 3 // 2):
                return "--slot-size 0x%x leaves %d bytes for files" % (larger, left)
        return "use a smaller build of MicroPython or a larger flash"


def _rounded_up(n: int) -> int:
    return -(-n // _SLOT_ALIGN_BYTES) * _SLOT_ALIGN_BYTES


def choose_layout(flash_bytes: int, image_bytes: int, slot_bytes: int | None = None) -> list[layout.Partition]:
    """The partition table: two slots for `image_bytes`, and files in the rest; FirmwareError if they don't fit.

    Without `slot_bytes`, the slots have room for an application that is SPARE_PERCENT larger, if that leaves
    _DEFAULT_MIN_FILES_BYTES for files.
    """
    name = next(k for k, v in FLASH_SIZES.items() if v == flash_bytes)
    least = _rounded_up(image_bytes)
    most = (flash_bytes - 0x10000 - _DEFAULT_MIN_FILES_BYTES) // 2 // _SLOT_ALIGN_BYTES * _SLOT_ALIGN_BYTES
    wanted = max(
        _rounded_up(image_bytes * (100 + SPARE_PERCENT) // 100),
        _MIN_SLOT_BYTES.get(flash_bytes, _MIN_LARGE_SLOT_BYTES if flash_bytes > 4 << 20 else 0),
    )
    slot = slot_bytes or max(least, min(wanted, most))
    if slot % _SLOT_ALIGN_BYTES:
        raise FirmwareError("--slot-size 0x%x: must be a multiple of 0x%x" % (slot, _SLOT_ALIGN_BYTES))
    if slot < image_bytes:
        raise FirmwareError(
            "--slot-size 0x%x: the application has %d bytes and needs at least 0x%x" % (slot, image_bytes, least)
        )
    left = flash_bytes - 0x10000 - 2 * slot
    if left < _MIN_FILES_BYTES:
        most = (flash_bytes - 0x10000 - _MIN_FILES_BYTES) // 2 // _SLOT_ALIGN_BYTES * _SLOT_ALIGN_BYTES
        remedy = (
            "--slot-size 0x%x leaves enough" % most
            if most >= least
            else "use a larger flash or a smaller build of MicroPython"
        )
        found = "%d bytes" % left if left > 0 else "nothing"
        raise FirmwareError(
            "two slots of 0x%x bytes leave %s of %s of flash for files, but 0x%x are needed: %s"
            % (slot, found, name, _MIN_FILES_BYTES, remedy)
        )
    return layout.ota(flash_bytes, slot)


def build(firmware: Firmware, files: dict[str, bytes], flash_bytes: int, slot_bytes: int | None = None) -> FlashImage:
    """The FlashImage of a complete firmware file and `files` {path: bytes}.

    FirmwareError if something does not fit; the text says what, and names a remedy.
    """
    if firmware.bootloader is None:
        raise FirmwareError("only an application: use the whole .bin file, with bootloader and partition table")
    check_micropython(firmware)
    rows = choose_layout(flash_bytes, len(firmware.application), slot_bytes)
    at = {p.label: p for p in rows}
    files_bytes = sum(map(len, files.values()))
    try:
        file_system = littlefs.build_image(files, at["vfs"].size)
        littlefs.change_image(file_system, {_STATE_NAME: bytes(STATE_BYTES)})
    except ValueError as e:
        least = _rounded_up(len(firmware.application))
        smaller = at["ota_0"].size > least
        raise FirmwareError(
            "%s; %s"
            % (
                e,
                "a smaller --slot-size leaves more: the application needs 0x%x" % least
                if smaller
                else "the slots can't be smaller: use fewer or smaller files",
            )
        )
    records = b"".join(r.raw().ljust(4096, b"\xff") for r in otadata.parse_words("1/VALID -"))
    parts = [
        Part(
            BOOTLOADER[firmware.chip],
            with_flash_size(firmware.bootloader, flash_bytes),
            "bootloader of %s" % firmware.chip_name,
        ),
        Part(layout.TABLE, layout.build(rows), "partition table"),
        Part(at["otadata"].address, records, "otadata: ota_0 boots"),
        Part(at["ota_0"].address, firmware.application, "MicroPython %s" % firmware.micropython),
        Part(at["vfs"].address, file_system, "file system"),
    ]
    return FlashImage(flash_bytes, rows, parts, len(firmware.application), files_bytes)
