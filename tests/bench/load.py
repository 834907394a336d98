"""Load on a server from this process: as fast as the server answers (closed loop), or at a fixed rate (open loop)."""

import asyncio
import itertools
import math
import random
import time
from dataclasses import dataclass

from ioto_tools.fleet.http import Client
from ioto_tools.fleet.latency import Latency

CONNECTIONS = 32


@dataclass
class Load:
    """The result of a load: processor times of the server and this process, and latencies of the requests.

    In an open loop, a latency is measured from the time at which the request was due.
    """

    answers: int
    seconds: float
    server_s: float
    own_s: float
    latency: Latency
    database_us: float = 0.0  # per answer, if measured

    @property
    def own_us(self):
        return self.own_s / self.answers * 1e6

    @property
    def rate(self):
        return self.answers / self.seconds

    @property
    def cost_us(self):
        """Processor time of the server per answer, in microseconds."""
        return self.server_s / self.answers * 1e6


def saturate(server, requests, seconds, connections=CONNECTIONS, **options):
    """Send `requests` (bytes) as fast as `server` answers, repeatedly for `seconds`; return the Load.

    If `seconds` is None, each request is sent once. `options` are those of http.Client.
    """
    return asyncio.run(_measure(server, requests, seconds, _closed, connections=connections, **options))


def open_loop(server, requests, rate, seconds, connections=200):
    """Send `rate` requests a second, as a Poisson process, for `seconds`; return the Load."""
    return asyncio.run(_measure(server, requests, seconds, lambda *each: _open(*each, rate), connections=connections))


async def _measure(server, requests, seconds, kind, **options):
    client = Client("127.0.0.1", server.port, **options)
    latency = Latency()
    server_s, own_s, start = server.cpu_s(), time.process_time(), time.perf_counter()
    await kind(client, itertools.cycle(requests) if seconds else iter(requests), latency, seconds)
    load = Load(latency.n, time.perf_counter() - start, server.cpu_s() - server_s, time.process_time() - own_s, latency)
    await client.close()
    return load


def _discard(piece):
    pass


def _check(reply):
    if reply.status not in (200, 206):
        raise RuntimeError("%d %s" % (reply.status, reply.error or reply.body[:200]))


async def _closed(client, requests, latency, seconds):
    ends = time.perf_counter() + seconds if seconds else math.inf
    finished = asyncio.get_running_loop().create_future()
    running = client.connections

    def ask():
        nonlocal running
        request = next(requests, None) if time.perf_counter() < ends else None
        if request:
            sent = time.perf_counter()
            return client.ask(request, lambda reply: answered(reply, sent), _discard)
        running -= 1
        if not running and not finished.done():
            finished.set_result(None)

    def answered(reply, sent):
        try:
            _check(reply)
        except RuntimeError as e:
            if not finished.done():
                finished.set_exception(e)
            return
        latency.add(time.perf_counter() - sent)
        ask()

    for _ in range(running):
        ask()
    await finished


async def _open(client, requests, latency, seconds, rate):
    draw = random.Random(1)
    loop = asyncio.get_running_loop()
    finished = loop.create_future()
    due = start = loop.time()
    left = 0

    def answered(reply, at):
        nonlocal left
        left -= 1
        try:
            _check(reply)
        except RuntimeError as e:
            if not finished.done():
                finished.set_exception(e)
            return
        latency.add(loop.time() - at)
        if left == 0 and due - start >= seconds and not finished.done():
            finished.set_result(None)

    while due - start < seconds and not finished.done():
        wait = due - loop.time()
        if wait > 0.0005:
            await asyncio.sleep(wait)
        left += 1
        client.ask(next(requests), lambda reply, at=due: answered(reply, at), _discard)
        due += draw.expovariate(rate)
        if wait <= 0:
            await asyncio.sleep(0)
    await finished
