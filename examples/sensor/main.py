"""A sensor on a battery: it wakes each hour, measures, does what is due of an update for 20 s at the most, and sleeps.

ioto.json opens the window for updates on Sunday from 2 to 6. Outside of it not even the radio is switched on.
"""

import machine
from ioto import rWatch
from ioto.start import agent, run

HOUR_S = 3600


def measure():
    """Yours: read the sensor, keep the value, send it when there are enough of them."""
    print("measured")


async def main():
    measure()
    return await agent().run_once(20)  # an image that takes longer is taken up at the next wake


rWatch("device:update", lambda data, staged: staged.apply())
rWatch("device:confirmed", lambda data, version: print("confirmed", version))
machine.deepsleep(min(run(main()), HOUR_S) * 1000)
