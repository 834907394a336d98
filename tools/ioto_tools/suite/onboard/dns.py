"""Check of DNS: an unknown name fails, a query to a silent server times out, the event loop keeps running."""

import asyncio

from . import Watch, Wrong
from .link import Ticker, resolver, up


async def _fails(found, name, asked, failure):
    watch = Watch()
    async with Ticker() as ticker:
        try:
            address = await asyncio.wait_for(
                asked.address("nothing.invalid"), 1.3 if failure is asyncio.TimeoutError else 30
            )
        except failure:
            found[name + "_ms"], found[name + "_pause_ms"] = watch.ms(), ticker.pause_ms
            return
    raise Wrong("nothing.invalid has the address %s" % address)


async def _run(given):
    found = {}
    await _fails(found, "unknown", resolver(), OSError)
    await _fails(found, "mute", resolver([given["host"]], given["mute"]), asyncio.TimeoutError)
    return found


def check(given):
    up(given)
    return asyncio.run(_run(given))


STEPS = ((check, None),)
