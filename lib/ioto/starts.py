"""The board's starts: their causes, how the last one ended, and the values in the NVS that boot.py uses too."""

import machine
from esp32 import NVS

# Names on the wire, in the order of machine.reset_cause(). The port reports a brownout as a power-on.
_CAUSES = "other power hard wdt deepsleep soft".split()
_START = "start%d"  # boot.py: the number of starts with this machine.reset_cause()
_RAISED = 5  # "ended" is 2 * machine.reset_cause() (here HARD_RESET), plus 1 if the traceback is stored


def _get(key):
    try:
        return NVS("ioto").get_i32(key)
    except OSError:  # never set
        return None


def _set(key, value):
    try:
        NVS("ioto").set_i32(key, value)
    except OSError:  # the NVS is full: nothing depends on these values
        pass


def cause():
    """The cause of this start."""
    return _CAUSES[min(machine.reset_cause(), 5)]


def read():
    """{cause: starts} since answered(); None if boot.py does not count."""
    found = [(name, _get(_START % n)) for n, name in enumerate(_CAUSES)]
    if any(n is not None for _, n in found):
        return {name: n for name, n in found if n and n > 0}


def answered():
    """Reset the counts and the failure: the cloud has received both."""
    for n in range(len(_CAUSES)):
        if _get(_START % n):
            _set(_START % n, 0)
    done()


def intended():
    """Do not count the next start: the agent itself resets the board."""
    _set(_START % 2, (_get(_START % 2) or 0) - 1)  # machine.HARD_RESET


def ended():
    """(cause of the reset that ended the application or a trial, is its traceback stored?); None if it is not known."""
    found = _get("ended")
    return (_CAUSES[min(found >> 1, 5)], bool(found & 1)) if found and found > 0 else None


def done():
    """Forget how the application or a trial ended."""
    if _get("ended"):
        _set("ended", 0)


def keep(has_trace=False):
    """Remember that the reset before this start ended the application; with `has_trace`, the reset that follows."""
    if has_trace or not _get("ended"):
        _set("ended", _RAISED if has_trace else machine.reset_cause() << 1)


def start_failed(has_trace):
    """After an exception ended main.py: count this start as failed for boot.py, then reset."""
    n = _get("resets")
    if n is not None:
        _set("resets", abs(n))
    if has_trace:
        keep(True)
    machine.reset()


def alone(soft):
    """Reset into a start without the application. A `soft` reset does not end a trial."""
    if not soft:
        intended()
    NVS("ioto").set_i32("alone", 1)
    (machine.soft_reset if soft else machine.reset)()
