"""Check of the clock: set and read, drift against the ticks, kept across a reset, and compared with NTP."""

import asyncio
import time

from . import RESET, Skip, agent, expect
from .link import resolver, up


def set_it(given):
    board = agent("board", "Board")()
    board.set_time(given["now"])
    expect("time within 2 s of the time set", 0 <= board.time_s() - given["now"] <= 2, True)
    began, ticks = time.time_ns(), time.ticks_ms()
    time.sleep_ms(1000)
    passed = time.ticks_diff(time.ticks_ms(), ticks)
    drift = round((time.time_ns() - began) / 1000 / passed - 1000, 1)
    return {"set_s": board.time_s(), "drift_permille": drift}


def kept(given):
    now = agent("board", "Board")().time_s()
    expect("time after a reset at most 60 s later", now is not None and 0 <= now - given["set_s"] <= 60, True)
    try:
        found = asyncio.run(_ask(given))
    except (Skip, OSError) as e:
        found = "not asked: %s" % e
    return {"ntp": found}


async def _ask(given):
    up(given)
    return "%+d s" % (await agent("clock", "ntp_s")(resolver(), "pool.ntp.org") - agent("board", "Board")().time_s())


STEPS = ((set_it, RESET), (kept, None))
