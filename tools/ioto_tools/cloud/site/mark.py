"""copy.json in a site's folder marks an incomplete copy or a backup, which can't be served or published into."""

import fcntl
import json
import os
from contextlib import contextmanager

from ..http.errors import CloudError

FILE = "copy.json"  # {of: the source folder, whole: is it a backup?, at_s: since when}


def read(folder):
    """The content of the mark, or None."""
    try:
        return json.loads((folder / FILE).read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as e:
        raise CloudError("%s: %s" % (folder / FILE, e)) from e


def write(folder, **said) -> None:
    path = folder / (FILE + ".new")
    with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        json.dump(said, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path, folder / FILE)


def remove(folder) -> None:
    (folder / FILE).unlink(missing_ok=True)


def check(folder):
    """CloudError if the site in `folder` is a backup or an incomplete copy."""
    said = read(folder)
    if said is None:
        return
    if said["whole"]:
        raise CloudError("%s is a backup: make a site of it with `ioto cloud restore %s --data DIR`" % (folder, folder))
    raise CloudError("%s is an incomplete copy of %s: run the command that makes it again" % (folder, said["of"]))


@contextmanager
def held(folder):
    """Lock `folder` against other copies into it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as e:
        raise CloudError("%s: another command is copying into it: wait until that has finished" % folder) from e
    finally:
        os.close(handle)
