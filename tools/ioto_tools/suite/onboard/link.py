"""Network helpers for the checks that need them. Not a check."""

import asyncio
import gc
import time

from . import Skip, agent


def wanted(given):
    """Skip if no name of a Wi-Fi network is given."""
    if not given["ssid"]:
        raise Skip("no Wi-Fi name: pass --ssid, or set wifi.ssid in the board's ioto.json")


def up(given):
    """Connect to Wi-Fi, and set the clock, since certificates have dates; Skip if Wi-Fi does not come up."""
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
    raise Skip("can't connect to the Wi-Fi %s: status %s" % (given["ssid"], wlan.status()))


def resolver(servers=None, port=53):
    """A resolver.Resolver that queries the name server of the link, or `servers`."""
    import network

    known = network.WLAN(network.STA_IF).ifconfig()[3]
    return agent("resolver", "Resolver")(lambda: servers or [known], port=port)


def client(given):
    """An http.Client that trusts the host's authority."""
    return agent("http", "Client")(resolver(), agent("certs", "context")(["/suite/ca.pem"]))


async def fetch(client, url):
    """GET `url`; returns status and number of bytes.

    Collects garbage first, as the agent does: TLS needs memory outside the heap.
    """
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
    """`async with Ticker() as t`: a task that sleeps 10 ms at a time; `t.pause_ms` is its longest delay."""

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
