"""Store the exception that ended the application, then reset the board. Loaded only when needed."""

import io
import sys

from .log import log

_MOST_BYTES = 1024
_HEAD_BYTES = 100


def shortened(text, most=_MOST_BYTES):
    """The bytes `text`; a long one is reduced to its beginning and its end."""
    if len(text) <= most:
        return text
    head = min(_HEAD_BYTES, most // 4)
    return text[:head] + b"\n...\n" + text[head + 5 - most :]


def remember(found, agent):
    """Store a traceback in the file `traceback` of the state folder, without secrets, for the next check-in or report.

    The file is not rewritten if it already contains this traceback.
    """
    from .redact import hide, secrets

    found = shortened(hide(found.encode(), secrets(agent)))
    path = (agent.config["state"] if agent else "state") + "/traceback"
    try:
        with open(path, "rb") as f:
            is_known = f.read() == found
    except OSError:
        is_known = False
    if not is_known:
        from .space import put

        put(path, found)


def text(e):
    out = io.StringIO()
    sys.print_exception(e, out)
    return out.getvalue()


def ended(e, agent):
    """Log the exception, store it and reset. On Linux, where there is no reset, raise it again."""
    is_stored = False
    try:
        found = text(e)
        if not log("error", found):
            sys.print_exception(e)
        remember(found, agent)
        is_stored = True
    except (OSError, MemoryError) as error:
        log("error", "traceback: %r" % error)
    try:
        from .starts import start_failed
    except ImportError:
        raise e
    start_failed(is_stored)
