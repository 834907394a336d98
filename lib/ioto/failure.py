"""What ended the application: it is kept for whoever asks why, and the board starts again. Loaded only then."""

import io
import sys

from .log import log

_MOST_BYTES = 1024
_HEAD_BYTES = 100


def text(e):
    """The traceback of `e`; of a long one the first line and the end."""
    out = io.StringIO()
    sys.print_exception(e, out)
    found = out.getvalue()
    if len(found) > _MOST_BYTES:
        found = found[:_HEAD_BYTES] + "\n...\n" + found[_HEAD_BYTES + 5 - _MOST_BYTES :]
    return found


def keep(found, path):
    """In the file `path`; the same one again is not written again."""
    try:
        with open(path) as f:
            if f.read() == found:
                return
    except OSError:
        pass
    from .space import put

    put(path, found.encode())


def ended(e, state):
    """Log the exception, keep it in `state`/traceback, reset. Where there is nothing to reset, on Linux, it is raised again."""
    try:
        found = text(e)
        if not log("error", found):
            sys.print_exception(e)
        keep(found, state + "/traceback")
    except (OSError, MemoryError) as error:
        log("error", "traceback: %r" % error)
    try:
        from .otadata import start_failed
    except ImportError:
        raise e
    start_failed()
