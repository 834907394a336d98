"""Load on a server from this process: as fast as it answers (closed loop), or by schedule whatever it answers (open loop)."""

import asyncio
import itertools
import random
import time
from dataclasses import dataclass

from ioto_tools.fleet.http import Client
from ioto_tools.fleet.latency import Latency

CONNECTIONS = 32


@dataclass
class Load:
    """What came of it: answers, seconds, processor seconds of the server and of this process, times from when each was due."""

    answers: int
    seconds: float
    server_s: float
    own_s: float
    latency: Latency

    @property
    def rate(self):
        return self.answers / self.seconds

    @property
    def cost_us(self):
        """Processor time of the server for each answer, microseconds."""
        return self.server_s / self.answers * 1e6


def saturate(server, requests, seconds, connections=CONNECTIONS, tls=None):
    """As many `requests` (bytes, over and over) as `server` answers on `connections` connections."""
    return asyncio.run(_measure(server, requests, seconds, connections, tls, _closed))


def open_loop(server, requests, rate, seconds, connections=200):
    """`rate` requests a second, at the moments of a Poisson process, for `seconds`."""
    return asyncio.run(_measure(server, requests, seconds, connections, None, _open, rate))


async def _measure(server, requests, seconds, connections, tls, kind, *arguments):
    client = Client("127.0.0.1", server.port, connections=connections, tls=tls)
    latency = Latency()
    server_s, own_s, start = server.cpu_s(), time.process_time(), time.perf_counter()
    await kind(client, itertools.cycle(requests), latency, seconds, *arguments)
    load = Load(latency.n, time.perf_counter() - start, server.cpu_s() - server_s, time.process_time() - own_s, latency)
    await client.close()
    return load


def _unread(piece):
    pass


def _good(reply):
    if reply.status not in (200, 206):
        raise RuntimeError("%d %s" % (reply.status, reply.error or reply.body[:200]))


async def _closed(client, requests, latency, seconds):
    ends = time.perf_counter() + seconds
    over = asyncio.get_running_loop().create_future()
    running = client.connections

    def ask():
        sent = time.perf_counter()
        client.ask(next(requests), lambda reply: answered(reply, sent), _unread)

    def answered(reply, sent):
        nonlocal running
        try:
            _good(reply)
        except RuntimeError as e:
            if not over.done():
                over.set_exception(e)
            return
        now = time.perf_counter()
        latency.add(now - sent)
        if now < ends:
            return ask()
        running -= 1
        if not running and not over.done():
            over.set_result(None)

    for _ in range(running):
        ask()
    await over


async def _open(client, requests, latency, seconds, rate):
    draw = random.Random(1)
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    due = start = loop.time()
    left = 0

    def answered(reply, at):
        nonlocal left
        left -= 1
        try:
            _good(reply)
        except RuntimeError as e:
            if not over.done():
                over.set_exception(e)
            return
        latency.add(loop.time() - at)
        if left == 0 and due - start >= seconds and not over.done():
            over.set_result(None)

    while due - start < seconds and not over.done():
        wait = due - loop.time()
        if wait > 0.0005:
            await asyncio.sleep(wait)
        left += 1
        client.ask(next(requests), lambda reply, at=due: answered(reply, at), _unread)
        due += draw.expovariate(rate)
        if wait <= 0:
            await asyncio.sleep(0)
    await over
