"""Read the files of a FAT file system, as used by boards with TinyUF2 (label `ffat`) and by MicroPython before 1.12.

MicroPython's own driver reads it: the unix port mounts the image and prints the files, in a sandboxed process, since
the image may be untrusted. That process runs this file as a program: python fat.py SECTOR_BYTES PATH, with the image as
standard input.
"""

import json
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import NoReturn

_LIMIT_S = 60
_READ = """
import os, struct, sys, vfs
class Image:
    file, block = open(0, "rb"), %d
    count = file.seek(0, 2) // block
    def readblocks(self, n, buf):
        self.file.seek(n * self.block)
        self.file.readinto(buf)
    def writeblocks(self, n, buf):
        raise OSError(30)
    def ioctl(self, op, arg):
        return {4: self.count, 5: self.block}.get(op, 0)
fs = vfs.VfsFat(Image())
vfs.mount(fs, "/fat", readonly=True)  # raises if it is not FAT
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


def is_fat(raw: bytes) -> bool:
    """True if `raw` starts with a boot sector: a jump, 512 to 4096 bytes per sector, the signature at the end."""
    return (
        len(raw) >= 512
        and raw[510:512] == b"\x55\xaa"
        and raw[0] in (0xEB, 0xE9)
        and _sector_bytes(raw) in (512, 1024, 2048, 4096)
    )


def _sector_bytes(raw: bytes) -> int:
    return struct.unpack_from("<H", raw, 11)[0]


def read(raw: bytes) -> dict[str, bytes]:
    """{path: bytes} of all files; ValueError if the image can't be read completely."""
    words = [sys.executable, "-E", "-s", "-S", __file__, str(_sector_bytes(raw)), json.dumps(sys.path)]
    with tempfile.TemporaryFile() as image:
        image.write(raw)
        image.flush()
        try:
            ran = subprocess.run(words, stdin=image, capture_output=True, timeout=_LIMIT_S, env={})
        except subprocess.TimeoutExpired:
            raise ValueError("the FAT file system can't be read within %d s" % _LIMIT_S) from None
    if ran.returncode:
        said = (ran.stderr or ran.stdout).decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise ValueError("the FAT file system can't be read: %s" % said)
    return dict(_parse_output(ran.stdout))


def _parse_output(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """Parse the output of the driver's process: (path, bytes) of each file."""
    at = 0
    while at < len(raw):
        n, size = struct.unpack_from("<II", raw, at)
        at += 8
        yield raw[at : at + n].decode(), raw[at + n : at + n + size]
        at += n + size


def _run_driver() -> NoReturn:
    sys.path[1:] = json.loads(sys.argv[2])
    import sandbox  # type: ignore[import-not-found]  # beside this program
    from micropython_run import run_main  # type: ignore[import-not-found]  # a C extension

    words = ["micropython", "-c", _READ % int(sys.argv[1])]
    if sandbox.available():
        sandbox.restrict_process()
    os._exit(run_main(words))


if __name__ == "__main__":
    _run_driver()
