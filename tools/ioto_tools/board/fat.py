"""Files of a FAT file system, as boards with TinyUF2 (label `ffat`) and with MicroPython before 1.12 have it.

Read with MicroPython's own driver, which wrote it: the unix port mounts the bytes and prints what it finds.
"""

import struct
import subprocess
import sys
import tempfile
from pathlib import Path

_LIMIT_S = 60
_RUN = "import sys, micropython_run; sys.exit(micropython_run.run_main(sys.argv))"
_READ = """
import os, struct, sys, vfs
class Image:
    def __init__(self, path, block):
        self.file, self.block = open(path, "rb"), block
        self.count = self.file.seek(0, 2) // block
    def readblocks(self, n, buf):
        self.file.seek(n * self.block)
        self.file.readinto(buf)
    def writeblocks(self, n, buf):
        raise OSError(30)
    def ioctl(self, op, arg):
        return {4: self.count, 5: self.block}.get(op, 0)
fs = vfs.VfsFat(Image(sys.argv[1], int(sys.argv[2])))
vfs.mount(fs, "/fat", readonly=True)  # refuses what is none
out = sys.stdout.buffer
def walk(folder):
    for entry in list(fs.ilistdir(folder or "/")):
        path = folder + "/" + entry[0]
        if entry[1] & 0x4000:
            walk(path)
            continue
        name = path[1:].encode()
        out.write(struct.pack("<II", len(name), entry[3]) + name)
        with fs.open(path, "rb") as f:
            left = entry[3]
            while left:
                piece = f.read(min(left, 4096))
                if not piece:
                    raise OSError(5)
                out.write(piece)
                left -= len(piece)
walk("")
"""


def is_fat(raw):
    """A boot sector: a jump, 512 to 4096 bytes a sector, the signature at its end."""
    return len(raw) >= 512 and raw[510:512] == b"\x55\xaa" and raw[0] in (0xEB, 0xE9) and _sector_bytes(raw) in (512, 1024, 2048, 4096)


def _sector_bytes(raw):
    return struct.unpack_from("<H", raw, 11)[0]


def read(raw):
    """{path: bytes} of all files; ValueError where it can't be read whole."""
    with tempfile.TemporaryDirectory() as folder:
        image, script = Path(folder) / "fat", Path(folder) / "read.py"
        image.write_bytes(raw)
        script.write_text(_READ)
        words = [sys.executable, "-c", _RUN, str(script), str(image), str(_sector_bytes(raw))]
        ran = subprocess.run(words, capture_output=True, timeout=_LIMIT_S)
    if ran.returncode:
        raise ValueError("the FAT file system can't be read: %s" % ran.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2])
    found, at = {}, 0
    while at < len(ran.stdout):
        n, size = struct.unpack_from("<II", ran.stdout, at)
        at += 8
        found[ran.stdout[at : at + n].decode()] = ran.stdout[at + n : at + n + size]
        at += n + size
    return found
