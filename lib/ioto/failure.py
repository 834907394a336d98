"""Store the exception that ended the application and reset the board. Loaded only when needed."""

import io
import sys

from .log import log

_MOST_BYTES = 1024
_HEAD_BYTES = 100


def text(e):
    """The traceback of `e`; a long one is shortened to its beginning and its end."""
    out = io.StringIO()
    sys.print_exception(e, out)
    found = out.getvalue()
    if len(found) > _MOST_BYTES:
        found = found[:_HEAD_BYTES] + "\n...\n" + found[_HEAD_BYTES + 5 - _MOST_BYTES :]
    return found


def keep(found, path):
    """Store the traceback in the file `path`, unless the file already contains it."""
    try:
        with open(path) as f:
            if f.read() == found:
                return
    except OSError:
        pass
    from .space import put

    put(path, found.encode())


def ended(e, state):
    """Log the exception, store it in `state`/traceback and reset. On Linux, where there is no reset, raise it again."""
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
