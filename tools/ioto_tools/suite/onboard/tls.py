"""Check of TLS with the host's servers: the valid certificate is accepted, each invalid one is rejected."""

import asyncio

from . import Skip, Watch, Wrong, agent, expect
from .link import Ticker, client, fetch, up

_WRONG = ("other_authority", "other_name", "expired")


async def _refusal(asks, name, url):
    """The reason why an invalid certificate is rejected; no_memory if three attempts fail with it."""
    UpdateError = agent("errors", "UpdateError")
    for _ in range(3):
        try:
            told = await fetch(asks, url)
        except UpdateError as e:
            reason = e.reason
            if reason != "no_memory":
                break
            continue
        raise Wrong("%s: the certificate was accepted: %s" % (name, told))
    return reason


async def _run(given):
    asks = client(given)
    watch = Watch()
    async with Ticker() as ticker:
        told = await fetch(asks, "https://%s:%d/bytes/100" % (given["host"], given["right"]))
        found = {"right_ms": watch.ms(), "pause_ms": ticker.pause_ms}
    expect("the answer with the valid certificate", told, (200, 100))
    unsaid = 0
    for name in _WRONG:
        found[name] = reason = await _refusal(asks, name, "https://%s:%d/bytes/100" % (given["host"], given[name]))
        if reason != "no_memory":
            expect("%s: start of the reason %s" % (name, reason), reason[:4], "tls_")
        else:
            unsaid += 1
        if unsaid > 1:  # rejected, but the reason is unknown
            raise Skip("%s: not enough memory for Mbed TLS to report why it rejects certificates" % name)
    return found


def check(given):
    up(given)
    return asyncio.run(_run(given))


STEPS = ((check, None),)
