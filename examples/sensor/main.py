"""A sensor on a battery: each hour it wakes, measures, spends at most 20 s on an update, and sleeps.

ioto.json opens the window for updates on Sunday from 2 to 6. Outside of it, not even the radio is switched on.
"""

import machine
from ioto import rWatch
from ioto.start import agent, run

HOUR_S = 3600


def measure():
    """Your code: read the sensor, store the value, send several values together."""
    print("measured")


async def main():
    measure()
    return await agent().run_once(20)  # a longer download is resumed at the next wake


rWatch("device:update", lambda data, staged: staged.apply())
rWatch("device:confirmed", lambda data, version: print("confirmed", version))
machine.deepsleep(min(run(main()), HOUR_S) * 1000)
