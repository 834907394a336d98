"""A virtual board: a flash file, the bootloader, and runs of the images in it.

board = Board.create("my.flash", firmware=image, files={"main.py": b"print('hello')"})
run = board.run(until_s=10)
print(run.console, board.describe_otadata())
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import private_file
from ..image import layout
from ..image.esp import BOOTLOADER, MAGIC, ImageError, verify
from . import file_system as littlefs
from . import otadata
from .bootloader import Bootloader, NoBootableApp
from .clock import Clock
from .cpu import Cpu
from .flash import Cut, Flash, PowerCut, Trace
from .hardware import DEEPSLEEP, HARD, PWRON, SOFT, WDT, Ended, Hardware, Reset
from .memory import GC_BYTES, IDF_BYTES, heap_bytes
from .serial import Serial
from .simulated_network import SimulatedNetwork

FAULTS = ("crash", "hang", "selftest", "exception")
_BOOT_LOOP = 5  # the run ends after this many consecutive resets without a bootable image
_RTC_WATCHDOG_US = 9_000_000  # the bootloader's watchdog, for an image that hangs at start


@dataclass
class Boot:
    """One start of the bootloader."""

    slot: str  # label of the partition that ran; "" if none did
    cause: int  # the reset cause
    messages: list[str]
    at_s: float


@dataclass
class Run:
    """The result of one run of the board: boots, flash operations, console output, and why it ended."""

    boots: list[Boot] = field(default_factory=list)
    trace: Trace = field(default_factory=Trace)
    console: str = ""
    ended: str = ""  # cut, time, boots, idle, hung, stopped, exit, dead

    @property
    def slots(self) -> list[str]:
        """The label of the partition that ran, for each boot."""
        return [b.slot for b in self.boots]


class Board:
    """A board whose flash is the file `path`.

    `air`: the simulated network; default: one without peers.
    `faults`: {SHA-256 of an image: `crash`, `hang` (both before Python starts), `selftest` or `exception`}.
    `real_time`: True for demonstrations, and for boards with a serial port.
    `seed`: of the random numbers and of the board's id.
    `idf_bytes`: the memory in addition to the first area of the GC heap (memory.py).
    `watchdogs`: False turns off the bootloader's watchdog.
    `frozen`: {path: bytes}, the firmware's frozen modules, the same for every image.
    `revision`: the chip's revision, major * 100 + minor.
    """

    def __init__(
        self,
        path: str | Path,
        air: SimulatedNetwork | None = None,
        faults: Mapping[str, str] | None = None,
        real_time: bool = False,
        seed: int = 0,
        idf_bytes: int = IDF_BYTES,
        watchdogs: bool = True,
        frozen: Mapping[str, bytes] | None = None,
        revision: int = 0,
    ) -> None:
        self.clock = Clock(real_time)
        if not Path(path).is_file():
            raise FileNotFoundError("%s: no such flash file; create one with `ioto board new`" % path)
        self.flash = Flash(path, self.clock)
        self.rows = layout.with_files(layout.parse(self.flash.peek(layout.TABLE, 0xC00)), self.flash.size)
        self.air = air or SimulatedNetwork()
        for fault in (faults or {}).values():
            if fault not in FAULTS:
                raise ValueError("fault %r: use one of %s" % (fault, ", ".join(FAULTS)))
        self.faults = dict(faults or {})
        self.idf_bytes = idf_bytes
        self.watchdogs = watchdogs
        self.chip = _chip_id(self.flash)
        self.revision = revision
        self.frozen: str | Path = self._freeze(frozen) if frozen else ""
        self.hardware = Hardware(self.flash, self.rows, self.clock, self.air, seed, self.chip, idf_bytes, revision)

    @classmethod
    def create(
        cls,
        path: str | Path,
        firmware: bytes | dict[str, bytes],
        files: littlefs.Files | None = None,
        flash_bytes: int = 4 << 20,
        slot_bytes: int = 0x1A0000,
        rows: list[layout.Partition] | None = None,
        **options: Any,
    ) -> "Board":
        """Create a flash file with `firmware` in the first slot and `files` in littlefs.

        `firmware` is an application image, or {label: image}; `files` is {path: bytes} or a folder. `options` are those
        of Board. ValueError if something does not fit.
        """
        rows = rows or layout.ota(flash_bytes, slot_bytes)
        images = (
            firmware if isinstance(firmware, dict) else {next(p.label for p in rows if p.type == layout.APP): firmware}
        )
        vfs = layout.file_system(layout.with_files(rows, flash_bytes))
        assert vfs
        parts = [(layout.TABLE, layout.build(rows)), (vfs.address, littlefs.build_image(files or {}, vfs.size))]
        for label, image in images.items():
            slot = next(p for p in rows if p.label == label)
            if len(image) > slot.size:
                raise ValueError("%s: the image has %d bytes, the slot %d" % (label, len(image), slot.size))
            parts.append((slot.address, image))
        Flash.create(path, flash_bytes, parts)
        return cls(path, **options)

    def _freeze(self, files: Mapping[str, bytes]) -> Path:
        """Write the frozen modules as a file system into a file beside the flash file; returns its path."""
        path = Path(str(self.flash.path) + ".frozen")
        private_file.write(path, littlefs.build_image(files, 1 << 20))
        return path.resolve()

    # ---- inspecting and changing the flash

    def partition(self, label: str) -> layout.Partition:
        for p in self.rows:
            if p.label == label:
                return p
        raise ValueError("no partition %r: use one of %s" % (label, ", ".join(p.label for p in self.rows)))

    def describe_otadata(self) -> str:
        """The two records as text, for example `1/VALID 2/NEW`."""
        return " ".join(str(r) for r in Bootloader(self.flash, self.rows, self.chip, self.revision).records())

    def set_otadata(self, words: str) -> None:
        """Write the two records, for example `1/VALID -`."""
        at = self.partition("otadata").address
        for i, record in enumerate(otadata.parse_words(words)):
            self.flash.data[at + i * 4096 : at + i * 4096 + 4096] = record.raw().ljust(4096, b"\xff")

    def read_slot(self, label: str) -> bytes:
        """The image in a slot; b"" if the bootloader would reject it."""
        p = self.partition(label)
        try:
            return self.flash.peek(p.address, verify(self.flash.peek, p.address, p.size, self.chip, self.revision))
        except ImageError:
            return b""

    def write_slot(self, label: str, raw: bytes) -> None:
        """Write bytes to a slot, as a flashing tool would."""
        p = self.partition(label)
        self.flash.data[p.address : p.address + p.size] = raw.ljust(p.size, b"\xff")

    def files(self) -> dict[str, bytes]:
        """{path: bytes} of the board's file system; ValueError if there is no readable one."""
        p = self._file_system()
        return littlefs.read_image(self.flash.peek(p.address, p.size))

    def write_files(self, changes: Mapping[str, bytes | None]) -> None:
        """Write files as a user could over USB; a file whose value is None is removed."""
        p = self._file_system()
        raw = littlefs.change_image(self.flash.peek(p.address, p.size), changes)
        self.flash.data[p.address : p.address + p.size] = raw

    def _file_system(self) -> layout.Partition:
        found = layout.file_system(self.rows)
        if found is None:
            raise ValueError(
                "no file system: no partition is labelled vfs or ffat, and no space is free after the last one"
            )
        return found

    # ---- running

    def run(
        self,
        until_s: float | None = None,
        max_boots: int | None = None,
        cut: Cut | None = None,
        console: Callable[[str], Any] | None = None,
        stop: Callable[[str], bool] | None = None,
        cause: int = PWRON,
        serial: Serial | None = None,
    ) -> Run:
        """Power on and run for at most `until_s` seconds or `max_boots`, until `cut` or until `stop(line)` is true.

        `until_s` is measured on the board's clock. `console(line)` is called with each printed line. The run begins
        with a power-on (`cause` PWRON) or with a reset by the reset pin (HARD). `serial` is for a board in real time.
        ValueError if another process runs a board on the same file.
        """
        with self.flash.powered():
            self.flash.trace = Trace()
            self.flash.cut = cut
            run = Run(trace=self.flash.trace)
            hardware = self.hardware
            hardware.until_us = float("inf") if until_s is None else self.clock.now_us + until_s * 1e6
            hardware.serial = serial
            if cause == PWRON:
                hardware.power_on()
            self._boot_until_end(run, _Lines(run, console, stop, serial), cause, max_boots)
            return run

    def _boot_until_end(self, run: Run, lines: "_Lines", cause: int, max_boots: int | None) -> None:
        """Boot again and again until the run ends; fills in `run`."""
        running = None
        failed = 0  # consecutive resets without a bootable image
        try:
            while max_boots is None or len(run.boots) < max_boots:
                if cause != SOFT and not (cause == DEEPSLEEP and running):
                    running, messages = self._bootloader()
                    run.boots.append(Boot(running.label if running else "", cause, messages, self.clock.now_us / 1e6))
                    failed = 0 if running else failed + 1
                    if failed == _BOOT_LOOP:
                        raise Ended("dead")
                cause = self._program(running, cause, lines) if running else WDT
                if cause != SOFT:
                    self.clock.advance(300000)  # the time for ROM and bootloader
            run.ended = "boots"
        except PowerCut:
            run.ended = "cut"
        except Ended as e:
            run.ended = str(e)
        lines.end()

    def _bootloader(self) -> tuple[layout.Partition | None, list[str]]:
        loader = Bootloader(self.flash, self.rows, self.chip, self.revision)
        try:
            return loader.start(), loader.messages
        except NoBootableApp:
            return None, loader.messages

    def _program(self, running: layout.Partition, cause: int, lines: "_Lines") -> int:
        """Run the image in a partition until a reset; returns the reset cause for the next start."""
        hardware = self.hardware
        hardware.begin(running, cause)
        fault = self.faults.get(hashlib.sha256(self.read_slot(running.label)).hexdigest(), "")
        if fault == "crash":
            lines.put(b"Guru Meditation Error: the image crashes at start\n")
            return HARD
        if fault == "hang":
            if not self.watchdogs:
                hardware.wait(float("inf"))
            hardware.wait(_RTC_WATCHDOG_US)
            return WDT
        cpu = Cpu(
            self.flash.path,
            not self.clock.real,
            fault,
            heap_bytes(self.idf_bytes),
            GC_BYTES + self.idf_bytes,
            self.frozen,
        )
        try:
            hardware.serve((cpu.link, cpu.out), lines.put, cpu.interrupt)
        except Reset as e:
            return e.cause
        finally:
            lines.put(cpu.kill())

    def close(self) -> None:
        self.flash.close()


def _chip_id(flash: Flash) -> int:
    """The chip id in the bootloader's header, at any of the chips' addresses; 0 (ESP32) without a bootloader."""
    for address in sorted(set(BOOTLOADER.values())):
        head = flash.peek(address, 16)
        if head[0] == MAGIC:
            return int.from_bytes(head[12:14], "little")
    return 0


class _Lines:
    """Splits the console output into lines."""

    def __init__(
        self,
        run: Run,
        console: Callable[[str], Any] | None,
        stop: Callable[[str], bool] | None,
        serial: Serial | None,
    ) -> None:
        self.run, self.console, self.stop, self.serial = run, console, stop, serial
        self.part = ""

    def put(self, raw: bytes) -> None:
        if self.serial:
            self.serial.send(raw)
        self.part += raw.decode("utf-8", "replace")
        *whole, self.part = self.part.split("\n")
        for line in whole:
            self.run.console += line + "\n"
            if self.console:
                self.console(line)
            if self.stop and self.stop(line):
                raise Ended("stopped")

    def end(self) -> None:
        self.run.console += self.part


__all__ = ["Board", "Cut", "Run", "Boot", "PWRON", "HARD", "WDT", "DEEPSLEEP", "SOFT"]
