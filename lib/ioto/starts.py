"""The values in the NVS that the agent shares with boot.py: starts by cause, and a start without the application."""

import machine
from esp32 import NVS

# Names on the wire, in the order of machine.reset_cause(). The port reports a brownout as a power-on.
_CAUSES = "other power hard wdt deepsleep soft".split()


def cause():
    """The cause of this start."""
    return _CAUSES[min(machine.reset_cause(), 5)]


def _count(nvs, n):
    try:
        return nvs.get_i32("start%d" % n)
    except OSError:  # no such start yet
        return None


def counts():
    """{cause: starts} since answered(); None if boot.py does not count."""
    nvs = NVS("ioto")
    found = [(name, _count(nvs, n)) for n, name in enumerate(_CAUSES)]
    if any(n is not None for _, n in found):
        return {name: n for name, n in found if n and n > 0}


def answered():
    """The cloud has received the counts: begin again."""
    nvs = NVS("ioto")
    for n in range(len(_CAUSES)):
        if _count(nvs, n):
            nvs.set_i32("start%d" % n, 0)


def intended():
    """The agent resets the board next: take this start out of the count."""
    try:
        nvs = NVS("ioto")
        nvs.set_i32("start2", (_count(nvs, 2) or 0) - 1)
    except OSError:  # the NVS is full: the start is counted
        pass


def alone(soft):
    """Reset into a start without the application. A `soft` reset does not end a trial."""
    if not soft:
        intended()
    NVS("ioto").set_i32("alone", 1)
    (machine.soft_reset if soft else machine.reset)()
