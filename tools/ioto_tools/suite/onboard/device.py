"""A separate agent for the checks that need one. Not a check.

Its settings and record are in /suite, and a stub replaces the cloud. The device's own record, token and version floor
are not changed.
"""

import asyncio
import gc

from . import Wrong, agent

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


def made(offered, client=None):
    """An agent with a stub cloud that offers `offered`, and with `client`, if given, to download the image."""
    found = agent("start", "agent")("suite/")

    async def check_in(facts):
        return offered

    async def report(entry):
        return True

    class Cloud:
        """Also its own client, on which the agent only calls close()."""

        def close(self):
            pass

    cloud = Cloud()
    cloud.client = cloud
    cloud.check_in, cloud.report = check_in, report
    found.cloud, found.registered = lambda seen=None: cloud, lambda: True
    if client:
        found.client = lambda seen=None: client
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
