"""One seam for everything the agent has to say. Quiet until `to()` names a listener.

Pure. Levels: error (something is lost or refused), warn (it will be tried again), info (each step), debug.
"""

LEVELS = ("error", "warn", "info", "debug")

_listener = None
_most = 0


def to(listener, level="error"):
    """Send messages up to `level` to `listener(level, message)`; None is quiet again."""
    global _listener, _most
    _listener = listener
    _most = LEVELS.index(level)


def log(level, message):
    """Returns True where somebody listens to that level."""
    if _listener and LEVELS.index(level) <= _most:
        try:
            _listener(level, message)
            return True
        except Exception:  # a full file system, say: nobody is left to tell, and nothing stops for it
            pass
