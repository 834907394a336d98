"""copy.json in a site's folder marks an incomplete copy or a backup: only commands that copy sites accept it."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

from ..http.errors import CloudError

FILE = "copy.json"


class Mark(TypedDict):
    """The content of copy.json."""

    of: str  # the source's folder
    whole: bool  # a complete backup; False: an incomplete copy
    at_s: int  # time of the copy


def read(folder: Path) -> Mark | None:
    """The mark of the site in `folder`, or None. CloudError if it can't be read."""
    try:
        found: Mark = json.loads((folder / FILE).read_text())
        return found
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as e:
        raise CloudError("%s: %s" % (folder / FILE, e)) from e


def write(folder: Path, mark: Mark) -> None:
    path = folder / (FILE + ".new")
    with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        json.dump(mark, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path, folder / FILE)


def remove(folder: Path) -> None:
    (folder / FILE).unlink(missing_ok=True)


def check(folder: Path) -> None:
    """Raise CloudError if the site in `folder` is a backup or an incomplete copy."""
    found = read(folder)
    if found is None:
        return
    if found["whole"]:
        raise CloudError("%s is a backup: restore it with `ioto cloud restore %s --data DIR`" % (folder, folder))
    raise CloudError("%s is an incomplete copy of %s: run the command that copies it again" % (folder, found["of"]))


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Lock `folder`, so that no other command copies into it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as e:
        raise CloudError("%s: another command is copying into it: wait until that has finished" % folder) from e
    finally:
        os.close(handle)
