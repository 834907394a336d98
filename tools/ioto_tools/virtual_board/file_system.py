"""The file system in a flash file: littlefs, with the geometry of MicroPython's VfsLfs2; FAT can only be read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import littlefs
from littlefs import lfs

from . import fat

_GEOMETRY = {"block_size": 4096, "read_size": 32, "prog_size": 32, "lookahead_size": 32, "cache_size": 128}
_VERSION = 0x00020000  # version of the disk format; every MicroPython since 1.12 can read it


# {path on the board: content, or a file of this machine}, or a folder.
Files = Mapping[str, bytes | str | Path] | str | Path


def _open(raw: bytes) -> Any:
    fs = littlefs.LittleFS(block_count=len(raw) // 4096, mount=False, **_GEOMETRY)
    fs.context.buffer = bytearray(raw)
    fs.mount()
    return fs


def collect_files(files: Files) -> dict[str, bytes]:
    """{path: bytes} from a dictionary or a folder, without `__pycache__` and hidden files."""
    if isinstance(files, Mapping):
        return {str(k): v if isinstance(v, bytes) else Path(v).read_bytes() for k, v in files.items()}
    folder = Path(files)
    if not folder.is_dir():
        raise ValueError("%s: no such folder" % folder)
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and "__pycache__" not in name and not any(part.startswith(".") for part in name.split("/")):
            found[name] = path.read_bytes()
    return found


class _Counting(littlefs.UserContext):
    """A block device in memory that counts its erase operations."""

    erases = 0

    def erase(self, cfg: Any, block: int) -> int:
        self.erases += 1
        return super().erase(cfg, block)


def build_image(files: Files, size: int) -> bytes:
    """A littlefs image of `size` bytes with `files` in it; ValueError if they do not fit."""
    flash = _Counting(size)
    fs = littlefs.LittleFS(context=flash, block_count=size // 4096, mount=False, disk_version=_VERSION, **_GEOMETRY)
    fs.format()
    fs.mount()
    found = dict(sorted(collect_files(files).items()))  # reproducible: equal files give equal bytes
    _write(fs, found, size)
    for name in {name.rpartition("/")[0]: name for name in found}.values():
        _compact(fs, flash, name)
    return bytes(flash.buffer)


def _compact(fs: Any, flash: _Counting, name: str) -> None:
    """Compact the metadata log of the folder of file `name`.

    A lookup reads the whole log, and an import does four lookups. littlefs compacts a log when it is full. This
    function fills the log: each removal of an attribute, even of one that does not exist, adds an entry.
    """
    before = flash.erases
    for _ in range(4096 // 32):
        if flash.erases > before:
            break
        fs.removeattr(name, "-")


def _write(fs: Any, files: Mapping[str, bytes], size: int) -> None:
    for name, raw in files.items():
        try:
            folders = name.split("/")[:-1]
            for i in range(len(folders)):
                fs.makedirs("/".join(folders[: i + 1]), exist_ok=True)
            _write_file(fs.fs, name, raw)
        except littlefs.LittleFSError as e:
            raise ValueError(
                "%s (%d bytes) does not fit into the file system of %d bytes: %s" % (name, len(raw), size, e)
            )


def _write_file(fs: Any, name: str, raw: bytes) -> None:
    # Not LittleFS.open(): if its file can't be closed, the finalizer closes it again, and littlefs aborts the process.
    f = lfs.file_open(fs, name, "wb")
    try:
        lfs.file_write(fs, f, raw)
    finally:
        lfs.file_close(fs, f)


def read_image(raw: bytes) -> dict[str, bytes]:
    """{path: bytes} of all files; ValueError if the image is neither littlefs nor FAT."""
    if fat.is_fat(raw):
        return fat.read(raw)
    try:
        fs = _open(raw)
    except littlefs.LittleFSError as e:
        raise ValueError("the file system is neither littlefs nor FAT: %s" % e)
    found = {}
    for folder, _, names in fs.walk("/"):
        for name in names:
            path = folder.rstrip("/") + "/" + name
            with fs.open(path, "rb") as f:
                found[path.lstrip("/")] = f.read()
    return found


def change_image(raw: bytes, changes: Mapping[str, bytes | None]) -> bytes:
    """The image with the files of `changes` {path: bytes} written, or removed if the value is None."""
    fs = _open(raw)
    for name, value in changes.items():
        if value is None:
            fs.remove(name)
        else:
            _write(fs, {name: value}, len(raw))
    return bytes(fs.context.buffer)
