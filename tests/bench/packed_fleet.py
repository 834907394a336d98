"""The bytes that a cloud sends to 1,000 simulated devices on three versions of real firmware, by kind of file."""

import random
import tempfile
from pathlib import Path

from ioto_tools.image import esp
from packed_fleet import DEVICES, PackedFleet
from packed_pairs import etboard


def main():
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        fleet = PackedFleet(Path(folder), images())
        total, fleets = 0, fleet.run()
        files, saved = fleet.files()
        for (kind, version), devices in DEVICES.items():
            sent = fleets[kind, version].tally.bytes
            total += sent
            words = kind, version, devices, files[kind, version][0], sent
            print("Packed files, %s on %s: %d devices, a file of %d bytes, %d bytes sent" % words, flush=True)
        whole = len(fleet.images["2.0.0"]) * sum(DEVICES.values())
        print("   all devices: %d of %d bytes, %.1f %%; saved on devices that installed it: %d" % (
            total, whole, 100 * total / whole, saved), flush=True)  # fmt: skip
        fleet.close()


def images():
    """etboard's builds of June 8 and August 31, before each of them one with other 12 KB of frozen modules."""
    june, august = etboard()
    return changed(june), june, changed(august), august


def changed(image):
    at = image.index(b"neopixel.py")  # among the names of the frozen modules
    return esp.fix_checksums(image[:at] + random.Random(1).randbytes(12_000) + image[at + 12_000 :])
