"""The watchdog bites a program that hangs, and the next start knows it."""

import machine

from . import Wrong, expect

_HANG = ("import machine\nmachine.WDT(timeout=1000)\nwhile True:\n    pass", 2)


def arm(given):
    try:
        machine.WDT(timeout=0)
    except ValueError:
        return
    raise Wrong("WDT(timeout=0): no ValueError")


def bitten(given):
    expect("reset_cause() after the watchdog", machine.reset_cause(), machine.WDT_RESET)


STEPS = ((arm, _HANG), (bitten, None))
