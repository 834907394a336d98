"""The agent's log: sends messages to the listener set with `to()`; without one, messages are dropped.

Pure. Levels: error (something is lost or refused), warn (will be retried), info (each step), debug.
"""

LEVELS = ("error", "warn", "info", "debug")

_listener = None
_most = 0
also = []  # functions that receive all messages too, see diary.py


def to(listener, level="error"):
    """Send messages up to `level` to `listener(level, message)`; None: drop them."""
    global _listener, _most
    _listener = listener
    _most = LEVELS.index(level)


def log(level, message):
    """Log `message`; returns True if the listener received it."""
    for each in also:
        each(level, message)
    if _listener and LEVELS.index(level) <= _most:
        try:
            _listener(level, message)
            return True
        except Exception:  # for example a full file system; it can't be reported and must not stop the agent
            pass
