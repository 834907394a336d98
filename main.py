"""The device: the agent, the decisions about an update, and the application."""

import asyncio

from ioto import rWatch
from ioto.start import agent, run


def say(level, message):
    print("%s: %s" % (level, message))


def update(data, staged):
    """A verified image is staged and the apply window is open. `staged.defer(3600)` would ask again in an hour."""
    print("applying %s" % staged.version)
    staged.apply()  # swaps the boot partition and resets


def selftest(data, arg):
    """Runs in the first boot of a new image: if it returns False or raises, the board rolls back to the old image."""
    return True


def confirmed(data, version):
    """The new image has checked in, so it stays."""
    print("confirmed %s" % version)


async def application():
    """Your code. It shares the loop with the agent, so it must not block."""
    while True:
        await asyncio.sleep(1)


async def main():
    rWatch("device:update", update)
    rWatch("device:selftest", selftest)
    rWatch("device:confirmed", confirmed)
    # An exception in the application ends main(): run() stores its traceback for the cloud, and resets the board.
    await asyncio.gather(agent(listener=say).run(), application())


run(main())
