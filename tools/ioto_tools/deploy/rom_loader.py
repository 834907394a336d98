"""Access to a chip in its ROM bootloader, by running the programs `esptool` and `espefuse`."""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..image.esp import CHIPS
from ..image.firmware import FLASH_SIZES
from . import serial_port as ports

_PROTECTED = {  # name in espefuse's summary -> the protection that it turns on
    "FLASH_CRYPT_CNT": "flash encryption", "SPI_BOOT_CRYPT_CNT": "flash encryption", "ABS_DONE_0": "secure boot",
    "ABS_DONE_1": "secure boot", "SECURE_BOOT_EN": "secure boot",
}  # fmt: skip


class LoaderError(Exception):
    """No chip answers, or a command failed; the text is from esptool, or says what to do next."""


class Loader:
    """`stub`: load esptool's faster flasher stub into the chip first; `before`: how the chip enters its bootloader."""

    def __init__(self, port: str, baud: int = 460800, stub: bool = True, before: str = "default-reset") -> None:
        self.port, self.baud, self.stub, self.before = port, baud, stub, before

    def identify(self) -> tuple[int, int]:
        """(chip id, bytes of flash) of the chip at the port."""
        output = self._esptool("flash-id")
        chip = re.search(r"Chip type:\s+(ESP32(?:-[A-Z]\d+)?)", output)
        size = re.search(r"Detected flash size: (\d+M)B", output)
        numbers = {name: n for n, name in CHIPS.items()}
        name = chip and (chip.group(1) if chip.group(1) in numbers else "ESP32")
        if not name or not size:
            raise LoaderError(
                "%s: not an ESP32 that esptool supports; its output: %s" % (self.port, output.strip().splitlines()[-1:])
            )
        return numbers[name], FLASH_SIZES.get(size.group(1), int(size.group(1)[:-1]) << 20)

    def protections(self) -> list[str]:
        """Names of the protections that prevent ordinary flashing: flash encryption, secure boot."""
        return parse_protections(
            self._run("espefuse", "--port", self.port, "--before", self.before, "summary", "--format", "json")
        )

    def read(self, address: int, n: int) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "read.bin"
            self._esptool("read-flash", hex(address), str(n), str(path))
            return path.read_bytes()

    def write(self, parts: Iterable[tuple[int, bytes]]) -> None:
        """Write [(address, bytes)], each verified by a hash that the chip computes, then start the chip.

        esptool's progress goes to the terminal.
        """
        with tempfile.TemporaryDirectory() as folder:
            words: list[str] = []
            for n, (address, raw) in enumerate(parts):
                path = Path(folder) / ("%d.bin" % n)
                path.write_bytes(raw)
                words += [hex(address), str(path)]
            self._esptool("write-flash", "--flash-size", "keep", *words, after="hard-reset", quiet=False)

    def erase(self) -> None:
        self._esptool("erase-flash", quiet=False)

    def _esptool(self, *words: str, after: str = "no-reset", quiet: bool = True) -> str:
        stub = [] if self.stub else ["--no-stub"]
        return self._run(
            "esptool",
            "--port",
            self.port,
            "--baud",
            str(self.baud),
            "--before",
            self.before,
            "--after",
            after,
            *stub,
            *words,
            quiet=quiet,
        )

    def _run(self, program: str, *words: str, quiet: bool = True) -> str:
        ran = subprocess.run(
            [sys.executable, "-m", program, *words],
            stdout=subprocess.PIPE if quiet else None,
            stderr=subprocess.PIPE,
            text=True,
        )
        if ran.returncode:
            output = (ran.stdout or "") + ran.stderr
            fault = re.search("could not open", output, re.I) and ports.diagnose(self.port)
            raise LoaderError(fault or "%s: %s failed: %s" % (self.port, program, _last(ran.stderr) or _last(output)))
        return ran.stdout or ""


def parse_protections(summary: str) -> list[str]:
    """Names of the enabled protections in the output of `espefuse summary --format json`."""
    fuses = json.loads(summary[summary.index("{\n") :])
    return sorted({what for name, what in _PROTECTED.items() if name in fuses and _is_set(fuses[name])})


def _is_set(fuse: dict[str, Any]) -> bool:
    """True if a flag (one bit) is set. Flash encryption is on if an odd number of bits of its counter is set."""
    return bin(int(fuse["raw_value"], 16)).count("1") % 2 == 1


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
