"""A separate agent for the checks that need one. Not a check.

Its settings and record are in /suite, and source.Client replaces the cloud. The device's own record, token and version
floor are not changed.
"""

import asyncio
import gc

from . import Wrong, agent
from .source import Client

_LIMIT_S = 55


def offer(image):
    """The cloud's offer of a source.Image."""
    return {
        "update": "suite",
        "version": "0.0.2",
        "url": "https://on.the.board/",
        "checksum": image.sha256,
        "size": image.size,
    }


def made(offered, image=None):
    """An agent whose cloud offers `offered`. Its file is the source.Image `image`, or comes from the offer's URL."""
    found = agent("start", "agent")("suite/")
    real = found.client
    found.client = lambda seen=None: Client(offered, image, real(seen))
    found.registered = lambda: True
    found.board.floor = lambda: ""
    found.board.raise_floor = lambda version: None
    return found


def until(found, event):
    """Run the agent until it signals `event`; returns the signal's argument.

    Wrong if the agent gives up or takes too long.
    """
    told = {}
    names = (event, "device:update:failed", "device:rollback")
    for name in names:
        agent("watch", "rWatch")(name, lambda name, arg: told.update({name: arg}), name)
    asyncio.run(_until(found, told, event))
    if event in told:
        return told[event]
    raise Wrong("no signal %s within %d s: %s" % (event, _LIMIT_S, told))


async def _until(found, told, event):
    task = asyncio.create_task(found.run())
    for _ in range(_LIMIT_S * 50):
        await asyncio.sleep_ms(20)
        if event in told or "device:update:failed" in told or task.done():
            break
    task.cancel()
    if event not in told and task.done():
        await task  # raises the task's exception


def heap():
    gc.collect()
    return gc.mem_alloc()
