"""Check of the stages of a download: time per 4 KiB to erase, write, read back and hash, and the speed of sockets."""

import asyncio
from hashlib import sha256

from . import Skip, Watch, agent, inactive
from .link import client, fetch, resolver, up


def _each(blocks, call):
    """(average, maximum) duration of call(n) in ms."""
    times = []
    for n in range(blocks):
        watch = Watch()
        call(n)
        times.append(watch.ms())
    return round(sum(times) / len(times), 1), max(times)


async def _network(given, found):
    size = given["blocks"] * 8192
    for name, asks, url in (
        (
            "socket",
            agent("http", "Client")(resolver(), None, 20000, True),
            "http://%s:%d/bytes/%d" % (given["host"], given["plain"], size),
        ),
        ("socket_tls", client(given), "https://%s:%d/bytes/%d" % (given["host"], given["right"], size)),
    ):
        watch = Watch()
        await fetch(asks, url)
        found[name + "_kb_s"] = round(size / watch.ms(), 1)


def check(given):
    part, blocks = inactive(), given["blocks"]
    buf = bytearray(4096)
    found = {}
    sha = sha256()
    for name, call in (
        ("erase", lambda n: part.ioctl(6, n)),
        ("write", lambda n: part.writeblocks(n, buf, 0)),
        ("read", lambda n: part.readblocks(n, buf, 0)),
        ("hash", lambda n: sha.update(buf)),
    ):
        found[name + "_ms"], found[name + "_worst_ms"] = _each(blocks, call)
    try:
        up(given)
        asyncio.run(_network(given, found))
    except Skip as e:
        found["socket"] = "not measured: %s" % e
    return found


STEPS = ((check, None),)
