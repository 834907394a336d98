"""Images in a folder, each named after its SHA-256. A file is whole under its name or it is not there.

What is received goes to a temporary name, is flushed to the disk, then renamed. The database alone says which image is
published: a file that no release names is never served.
"""

import hashlib
import io
import os
import time
from contextlib import contextmanager
from pathlib import Path

from ..http.errors import Unavailable

CHUNK_BYTES = 64 * 1024
INCOMING = ".incoming-"  # begins the name of every file that is being received
_LEFT_OVER_S = 24 * 3600  # older than any publish that still runs


class Store:
    def __init__(self, folder):
        self.folder = Path(folder)

    def name(self, checksum):
        # Two hex digits a folder: no folder grows beyond what file systems like.
        return "%s/%s" % (checksum[:2], checksum)

    def path(self, checksum):
        return self.folder / self.name(checksum)

    def open(self, checksum):
        """The image opened for reading, with its `size`; FileNotFoundError if it is not there."""
        return _Image(self.path(checksum))

    def link(self, checksum, seconds):
        """An address of the image for whoever gets it, good for some seconds; None: the cloud itself serves it."""
        return None

    def spool(self):
        """The folder for files that are being received, on the disk that images are kept on. Unavailable."""
        with self._room():
            self.folder.mkdir(parents=True, exist_ok=True)
        return str(self.folder)

    @contextmanager
    def receive(self, chunks):
        """Write `chunks` (bytes) to a temporary file and give an Incoming, to be kept inside the block or lost.

        Unavailable where there is no room; errors of `chunks` are its own.
        """
        self.spool()
        with self._room():
            self._sweep()
        path = self.folder / ("%s%d-%s" % (INCOMING, os.getpid(), os.urandom(8).hex()))
        try:
            yield self._write(path, chunks)
        finally:
            path.unlink(missing_ok=True)

    def _write(self, path, chunks):
        sha256 = hashlib.sha256()
        size = 0
        with self._room():
            file = open(path, "xb", buffering=0)
        with file:
            for chunk in chunks:
                with self._room():
                    _write(file, chunk)
                sha256.update(chunk)
                size += len(chunk)
            with self._room():
                os.fsync(file.fileno())
        return Incoming(self, path, sha256.hexdigest(), size)

    def keep(self, incoming):
        path = self.path(incoming.checksum)
        with self._room():
            path.parent.mkdir(exist_ok=True)
            os.replace(incoming.path, path)
            for folder in (path.parent, self.folder):
                _sync(folder)

    @contextmanager
    def _room(self):
        try:
            yield
        except OSError as e:
            raise Unavailable("images in %s: %s: is the disk full?" % (self.folder, e.strerror)) from e

    def _sweep(self):
        # A publisher that was killed leaves its temporary file behind.
        before = time.time() - _LEFT_OVER_S
        for path in self.folder.glob(INCOMING + "*"):
            try:
                if path.stat().st_mtime < before:
                    path.unlink(missing_ok=True)
            except FileNotFoundError:  # another publisher was faster
                pass


class Incoming:
    """A received image that has no name yet: `checksum` (hex), `size` in bytes."""

    def __init__(self, store, path, checksum, size):
        self.store = store
        self.path = path
        self.checksum = checksum
        self.size = size

    def keep(self):
        """Put it under its name, and on the disk."""
        self.store.keep(self)


class _Image(io.FileIO):
    def __init__(self, path):
        super().__init__(path)
        self.size = os.fstat(self.fileno()).st_size


def _write(file, chunk):
    left = memoryview(chunk)
    while left:  # where there is little room it takes a part
        left = left[file.write(left) :]


def _sync(folder):
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
