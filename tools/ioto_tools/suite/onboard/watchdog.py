"""Check of the watchdog: it resets a program that hangs, and the next start sees the reset cause."""

import machine

from . import Wrong, expect

# Not forever: if the watchdog did not work, Ctrl-C could not interrupt the board.
_HANG = """
import machine, time
machine.WDT(timeout=1000)
began = time.ticks_ms()
while time.ticks_diff(time.ticks_ms(), began) < 5000:
    pass
"""


def arm(given):
    try:
        machine.WDT(timeout=0)
    except ValueError:
        return
    raise Wrong("WDT(timeout=0): no ValueError")


def bitten(given):
    expect("reset_cause() after a reset by the watchdog", machine.reset_cause(), machine.WDT_RESET)


STEPS = ((arm, _HANG), (bitten, None))
