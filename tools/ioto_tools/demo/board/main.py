"""The device of the demonstration: the agent, watchers of its events, and an application that keeps blinking."""

import asyncio
import time

from ioto import rWatch
from ioto.start import agent, run

longest_ms = 0


async def blink():
    """The application's own task: runs every 10 ms and measures how long the agent delays it."""
    global longest_ms
    last = time.ticks_ms()
    while True:
        await asyncio.sleep_ms(10)
        now = time.ticks_ms()
        longest_ms = max(longest_ms, time.ticks_diff(now, last) - 10)
        last = now


def tell(*words):
    print(*words, "| blinking, longest pause %d ms" % longest_ms)


def progress(data, done):
    print("progress %d %d %d" % (done[0], done[1], longest_ms))


def update(data, staged):
    tell("device:update: version %s is staged, attempt %d: applying" % (staged.version, staged.attempt))
    staged.apply()


async def main():
    made = agent(listener=lambda level, message: print(level + ":", message))
    rWatch("device:update", update)
    rWatch("device:update:progress", progress)
    rWatch("device:update:available", lambda data, offer: tell("device:update:available: version", offer["version"]))
    rWatch("device:update:failed", lambda data, e: tell("device:update:failed:", e))
    rWatch("device:rollback", lambda data, e: tell("device:rollback:", e))
    rWatch("device:confirmed", lambda data, version: tell("device:confirmed: version", version))
    rWatch("device:selftest", lambda data, arg: True)
    await asyncio.gather(made.run(), blink())


run(main())
