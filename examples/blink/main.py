"""A lamp that blinks, and shows how its update proceeds.

It blinks faster during a download, and is steady before the swap.
"""

import asyncio

from ioto import rWatch
from ioto.start import agent, run
from machine import Pin

lamp = Pin(2, Pin.OUT)
pause_ms = 500


async def blink():
    while True:
        lamp.value(not lamp.value())
        await asyncio.sleep_ms(pause_ms)


def pace(ms, arg):
    global pause_ms
    pause_ms = ms


def update(data, staged):
    print("installing version", staged.version)
    lamp.on()
    staged.apply()  # resets the board; without this line, no update is ever installed


def selftest(data, arg):
    """Runs in the first boot of a new image: if it returns False or raises an exception, the board rolls back."""
    lamp.on()
    return lamp.value() == 1


rWatch("device:update:available", pace, 100)
rWatch("device:update:failed", pace, 500)
rWatch("device:update", update)
rWatch("device:selftest", selftest)
rWatch("device:confirmed", lambda data, version: print("confirmed", version))


async def main():
    await asyncio.gather(agent().run(), blink())  # an exception in blink() ends main(), so the board starts again


run(main())
