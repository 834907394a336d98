"""Write small files even if the application has filled the file system.

From the first start on, the state folder contains spare files of one block each. They are removed when there is no
space, and created again after the write.
"""

import os

SPARES = 4  # blocks: for the longest record and for the file system itself
_PIECE = b"\xff" * 512
SPARE_BYTES = 4096  # one block


def reserve(folder):
    """Create the missing spare files; OSError if there is no space."""
    for path in _paths(folder):
        try:
            if os.stat(path)[6] == SPARE_BYTES:
                continue
        except OSError:
            pass
        with open(path, "wb") as f:
            for _ in range(SPARE_BYTES // len(_PIECE)):
                f.write(_PIECE)


def insist(folder, write):
    """Retry write() in the reserved space; OSError if it still fails."""
    failed = OSError(28)
    for path in _paths(folder):
        try:
            os.remove(path)
        except OSError:  # already removed
            continue
        try:
            write()
            break
        except OSError as e:
            failed = e
    else:
        raise failed
    try:
        reserve(folder)  # immediately, before other tasks use the space freed by the old file
    except OSError:
        pass


def put(path, raw):
    """Write the bytes `raw` to a new file and rename it; OSError if that fails.

    A power cut leaves the old or the new file.
    """

    def write():
        with open(path + ".new", "wb") as f:
            f.write(raw)
        try:
            os.rename(path + ".new", path)
        except OSError:  # FAT can't rename to an existing file
            os.remove(path)
            os.rename(path + ".new", path)

    try:
        write()
    except OSError:
        insist(path[: path.rindex("/")], write)


def _paths(folder):
    return ["%s/spare.%d" % (folder, n) for n in range(SPARES)]
