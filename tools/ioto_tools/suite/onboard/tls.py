"""TLS against the host's servers: the right certificate is taken, and each wrong one refused."""

import asyncio

from . import Watch, Wrong, agent, expect
from .link import Ticker, client, fetch, up

_WRONG = ("other_authority", "other_name", "expired")


async def _run(given):
    asks = client(given)
    UpdateError = agent("errors", "UpdateError")
    watch = Watch()
    async with Ticker() as ticker:
        told = await fetch(asks, "https://%s:%d/bytes/100" % (given["host"], given["right"]))
        found = {"right_ms": watch.ms(), "pause_ms": ticker.pause_ms}
    expect("the right certificate", told, (200, 100))
    for name in _WRONG:
        try:
            told = await fetch(asks, "https://%s:%d/bytes/100" % (given["host"], given[name]))
        except UpdateError as e:
            found[name] = e.reason
            if e.reason != "no_memory":  # refused as well: with little memory Mbed TLS can't say what is wrong
                expect("%s: %s: a reason about TLS" % (name, e), e.reason[:4], "tls_")
            continue
        raise Wrong("%s: the certificate was taken: %s" % (name, told))
    return found


def check(given):
    up(given)
    return asyncio.run(_run(given))


STEPS = ((check, None),)
