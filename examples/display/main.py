"""A display that asks its user: the left button installs the update, the right one asks again in an hour.

Without an answer, nothing is installed.
"""

import asyncio

from ioto import rWatch
from ioto.start import agent, run
from machine import Pin

left = Pin(0, Pin.IN, Pin.PULL_UP)  # the BOOT button of most boards
right = Pin(14, Pin.IN, Pin.PULL_UP)
asking = None  # the task; an update that nobody answers is signalled again after an hour


def show(*lines):
    """Your code: an OLED or e-paper display. Here it is the serial port."""
    print(" | ".join(lines))


async def ask(staged):
    show("Version %s is here" % staged.version, "left: now", "right: in an hour")
    while left.value() and right.value():
        await asyncio.sleep_ms(50)
    if left.value():
        show("In an hour, then")
        staged.defer(3600)
    else:
        show("Back in a moment")
        staged.apply()


def update(data, staged):
    global asking
    if asking:
        asking.cancel()
    asking = asyncio.create_task(ask(staged))


async def main():
    await agent().run()


rWatch("device:update", update)
rWatch("device:confirmed", lambda data, version: show("This is version " + version))
rWatch("device:rollback", lambda data, why: show("The new version did not work", "This is the old one"))
run(main())
