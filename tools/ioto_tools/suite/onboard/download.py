"""Check of a complete download by the agent into the inactive slot.

Measures speed, the heap before, during and after, and the longest pause of a 10 ms ticker. Downloads over TLS from the
host if there is Wi-Fi, otherwise copies from the running slot.
"""

import asyncio
import gc

from . import Skip, Watch, agent, inactive
from .device import heap, made, offer, until
from .link import Ticker, up


def _source(given):
    """(offer, image or None, description of the source)"""
    try:
        up(given)
    except Skip as e:
        from esp32 import Partition

        from .source import Image

        image = Image(Partition(Partition.RUNNING), "suite")
        return offer(image), image, "the running slot: %s" % e
    url = "https://%s:%d/image" % (given["host"], given["right"])
    return (
        {"update": "suite", "version": "0.0.2", "url": url, "checksum": given["checksum"], "size": given["size"]},
        None,
        "TLS",
    )


def check(given):
    before = heap()  # without an agent
    inactive()
    offered, image, source = _source(given)
    found = {"over": source, "image_bytes": offered["size"], "heap_before_bytes": before}
    device = made(offered, image)
    found["heap_idle_bytes"] = most = heap()
    free = gc.mem_free()

    def progress(data, done):
        nonlocal most, free
        most = max(most, heap())
        free = min(free, gc.mem_free())

    agent("watch", "rWatch")("device:update:progress", progress)
    ticker = Ticker()
    device.begun = device.begin

    async def begin():  # the ticker must run in the agent's event loop
        asyncio.create_task(ticker._run())
        await device.begun()

    device.begin = begin
    watch = Watch()
    until(device, "device:update")
    found["speed_kb_s"] = round(offered["size"] / watch.ms(), 1)
    found["pause_ms"] = ticker.pause_ms
    found["heap_download_bytes"], found["free_download_bytes"] = most, free
    found["heap_after_bytes"] = heap()
    return found


STEPS = ((check, None),)
