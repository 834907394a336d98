"""A display that asks its user: the left button installs the update, the right one asks again in an hour.

Without an answer, nothing is installed.
"""

import asyncio

from ioto import rWatch
from ioto.start import agent, run
from machine import Pin

left = Pin(0, Pin.IN, Pin.PULL_UP)  # the BOOT button of most boards
right = Pin(14, Pin.IN, Pin.PULL_UP)
asking = None  # the task; an update that the user does not answer is signalled again after an hour


def show(*lines):
    """Your code: an OLED or e-paper display. Here it is the serial port."""
    print(" | ".join(lines))


async def ask(staged):
    show("Version %s is available" % staged.version, "left: now", "right: in an hour")
    while left.value() and right.value():
        await asyncio.sleep_ms(50)
    if left.value():
        show("Asking again in an hour")
        staged.defer(3600)
    else:
        show("Installing the update")
        staged.apply()


def update(data, staged):
    global asking
    if asking:
        asking.cancel()
    asking = asyncio.create_task(ask(staged))


async def main():
    await agent().run()


rWatch("device:update", update)
rWatch("device:confirmed", lambda data, version: show("Running version " + version))
rWatch("device:rollback", lambda data, why: show("The new version failed", "The old one is back"))
run(main())
