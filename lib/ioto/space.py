"""Small files that can be written even when the application has filled the file system.

From the first start on spare files of one block each lie in the state folder. They are removed where there is no room, and
made again once what had to be written is there.
"""

import os

SPARES = 4  # blocks: the longest record, and what the file system itself may need
_PIECE = b"\xff" * 512
SPARE_BYTES = 4096  # one block


def reserve(folder):
    """Make the spare files that are missing; OSError where there is no room."""
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
    """write() once more, in the space that was reserved; OSError as it raises."""
    failed = OSError(28)
    for path in _paths(folder):
        try:
            os.remove(path)
        except OSError:  # not there any more
            continue
        try:
            write()
            break
        except OSError as e:
            failed = e
    else:
        raise failed
    try:
        reserve(folder)  # at once: nobody else has taken what the old file has given back
    except OSError:
        pass


def put(path, raw):
    """Write the bytes `raw` beside and rename, so that a cut leaves the old file or the new one. OSError."""

    def write():
        with open(path + ".new", "wb") as f:
            f.write(raw)
        try:
            os.rename(path + ".new", path)
        except OSError:  # FAT does not rename over a file
            os.remove(path)
            os.rename(path + ".new", path)

    try:
        write()
    except OSError:
        insist(path[: path.rindex("/")], write)


def _paths(folder):
    return ["%s/spare.%d" % (folder, n) for n in range(SPARES)]
