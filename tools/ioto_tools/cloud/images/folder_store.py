"""Stores images in a folder, each named after its SHA-256. A file with its final name is always complete.

A received file is written under a temporary name, flushed to the disk, then renamed. Only the database records
which images are published: a file without a release is never served.
"""

import hashlib
import io
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from ..http.errors import Unavailable

CHUNK_BYTES = 64 * 1024
INCOMING = ".incoming-"  # name prefix of files that are being received
_LEFT_OVER_S = 24 * 3600  # older files are left over: no publish takes this long


class ImageFile(Protocol):
    """An image that is open for reading, in any store. `size` in bytes."""

    size: int

    def seek(self, offset: int, /) -> object: ...

    def read(self, n: int, /) -> bytes: ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class FolderStore:
    """The images in `folder`, which is created when the first one is received."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def name(self, checksum: str) -> str:
        # Subfolders of two hex digits keep each folder small.
        return "%s/%s" % (checksum[:2], checksum)

    def path(self, checksum: str) -> Path:
        return self.folder / self.name(checksum)

    def open(self, checksum: str) -> ImageFile:
        """Open the image for reading. FileNotFoundError if it does not exist."""
        return _Image(self.path(checksum))

    def link(self, checksum: str, seconds: int) -> str | None:
        """A URL of the image that is valid for `seconds`. None: the cloud itself serves the image."""
        return None

    def create_folder(self) -> str:
        """Create the folder for files that are being received, on the disk of the images. Returns its path."""
        with self._disk_errors_as_unavailable():
            self.folder.mkdir(parents=True, exist_ok=True)
        return str(self.folder)

    @contextmanager
    def receive(self, chunks: Iterable[bytes]) -> Iterator["Incoming"]:
        """Write `chunks` to a temporary file, which is deleted after the block unless keep() was called.

        Raises Unavailable if the disk is full; errors of `chunks` are passed on.
        """
        self.create_folder()
        with self._disk_errors_as_unavailable():
            self._delete_left_over()
        path = self.folder / ("%s%d-%s" % (INCOMING, os.getpid(), os.urandom(8).hex()))
        try:
            yield self._write(path, chunks)
        finally:
            path.unlink(missing_ok=True)

    def _write(self, path: Path, chunks: Iterable[bytes]) -> "Incoming":
        sha256 = hashlib.sha256()
        size = 0
        with self._disk_errors_as_unavailable():
            file = open(path, "xb", buffering=0)
        with file:
            for chunk in chunks:
                with self._disk_errors_as_unavailable():
                    _write(file, chunk)
                sha256.update(chunk)
                size += len(chunk)
            with self._disk_errors_as_unavailable():
                os.fsync(file.fileno())
        return Incoming(self, path, sha256.hexdigest(), size)

    def delete(self, checksum: str) -> None:
        """Delete an image; it may be missing already. Unavailable if it can't be deleted."""
        try:
            self.path(checksum).unlink(missing_ok=True)
        except OSError as e:
            raise Unavailable("images in %s: %s: %s" % (self.folder, checksum, e.strerror)) from e

    def keep(self, incoming: "Incoming") -> None:
        path = self.path(incoming.checksum)
        with self._disk_errors_as_unavailable():
            path.parent.mkdir(exist_ok=True)
            os.replace(incoming.path, path)
            for folder in (path.parent, self.folder):
                _sync(folder)

    @contextmanager
    def _disk_errors_as_unavailable(self) -> Iterator[None]:
        try:
            yield
        except OSError as e:
            raise Unavailable("images in %s: %s: is the disk full?" % (self.folder, e.strerror)) from e

    def _delete_left_over(self) -> None:
        """Delete the temporary files of publishers that were killed."""
        before = time.time() - _LEFT_OVER_S
        for path in self.folder.glob(INCOMING + "*"):
            try:
                if path.stat().st_mtime < before:
                    path.unlink(missing_ok=True)
            except FileNotFoundError:  # another publisher has deleted it
                pass


class Incoming:
    """A received image without its final name: `checksum` (hex), `size` in bytes."""

    def __init__(self, store: FolderStore, path: Path, checksum: str, size: int) -> None:
        self.store = store
        self.path = path
        self.checksum = checksum
        self.size = size

    def keep(self) -> None:
        """Rename the image to its final name, and flush it to the disk."""
        self.store.keep(self)


class _Image(io.FileIO):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.size = os.fstat(self.fileno()).st_size


def _write(file: io.FileIO, chunk: bytes) -> None:
    left = memoryview(chunk)
    while left:  # a nearly full disk may accept only a part
        left = left[file.write(left) :]


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
