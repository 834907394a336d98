"""The network for the checks that need it; not a check."""

import asyncio
import gc
import time

from . import Skip, agent


def wanted(given):
    """Skip unless a network's name is known."""
    if not given["ssid"]:
        raise Skip("no Wi-Fi name: --ssid says it, or the board's ioto.json")


def up(given):
    """The link is up when this returns, and the clock set, since certificates have dates; Skip where it is not to be had."""
    import network

    wanted(given)
    board = agent("board", "Board")()
    if board.time_s() is None:
        board.set_time(given["now"])
    wlan = network.WLAN(network.STA_IF)
    wlan.active(True)
    if not wlan.isconnected():
        wlan.connect(given["ssid"], given["password"])
    for _ in range(200):
        if wlan.isconnected():
            return wlan
        time.sleep_ms(100)
    raise Skip("Wi-Fi %s does not come up: status %s" % (given["ssid"], wlan.status()))


def resolver(servers=None, port=53):
    """resolver.Resolver that asks the name server of the link, or `servers`."""
    import network

    known = network.WLAN(network.STA_IF).ifconfig()[3]
    return agent("resolver", "Resolver")(lambda: servers or [known], port=port)


def client(given):
    """http.Client that trusts the host's authority."""
    return agent("http", "Client")(resolver(), agent("certs", "context")(["/suite/ca.pem"]))


async def fetch(client, url):
    """Status and number of bytes of what is there. As the agent does, the heap is given back first: TLS needs room beside it."""
    gc.collect()
    reply = await client.request("GET", url)
    buf = memoryview(bytearray(4096))
    size = 0
    try:
        while n := await reply.readinto(buf):
            size += n
            await asyncio.sleep_ms(0)
    finally:
        await reply.close()
    return reply.status, size


class Ticker:
    """`async with Ticker() as t`: a task that sleeps 10 ms at a time; `t.pause_ms` is the longest it was held up."""

    pause_ms = 0

    async def __aenter__(self):
        self.task = asyncio.create_task(self._run())
        await asyncio.sleep_ms(20)
        self.pause_ms = 0
        return self

    async def __aexit__(self, *exception):
        self.task.cancel()

    async def _run(self):
        last = time.ticks_ms()
        while True:
            await asyncio.sleep_ms(10)
            now = time.ticks_ms()
            self.pause_ms = max(self.pause_ms, time.ticks_diff(now, last) - 10)
            last = now
