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

CHUNK_BYTES = 64 * 1024
_INCOMING = ".incoming-"
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

    @contextmanager
    def receive(self, chunks):
        """Write `chunks` (bytes) to a temporary file and give an Incoming, to be kept inside the block or lost."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._sweep()
        path = self.folder / ("%s%d-%s" % (_INCOMING, os.getpid(), os.urandom(8).hex()))
        try:
            yield self._write(path, chunks)
        finally:
            path.unlink(missing_ok=True)

    def _write(self, path, chunks):
        sha256 = hashlib.sha256()
        size = 0
        with open(path, "xb") as file:
            for chunk in chunks:
                file.write(chunk)
                sha256.update(chunk)
                size += len(chunk)
            file.flush()
            os.fsync(file.fileno())
        return Incoming(self, path, sha256.hexdigest(), size)

    def keep(self, incoming):
        path = self.path(incoming.checksum)
        path.parent.mkdir(exist_ok=True)
        os.replace(incoming.path, path)
        for folder in (path.parent, self.folder):
            _sync(folder)

    def _sweep(self):
        # A publisher that was killed leaves its temporary file behind.
        before = time.time() - _LEFT_OVER_S
        for path in self.folder.glob(_INCOMING + "*"):
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


def _sync(folder):
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
