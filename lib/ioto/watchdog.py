"""The watchdog is fed while the loop runs: what blocks it for good, or ends it, ends in a reset."""

import asyncio

from .uptime import uptime_s

_DAY_S = 86400  # it can't be disarmed: a day is as good


def guard(agent, limit_s):
    """Arm the watchdog at once, and feed it from a task for ever. A trial that outlives twice its limit is not fed any more."""
    if not 0 < limit_s < _DAY_S:
        limit_s = _DAY_S
    agent.board.watchdog(limit_s * 1000)
    asyncio.create_task(_feed(agent, limit_s))


async def _feed(agent, limit_s):
    board = agent.board
    end_s = uptime_s() + agent.config["trial.limit"] * 2
    while not agent.trial or uptime_s() < end_s:
        if not agent.trial and agent.until_s is not None and limit_s < _DAY_S:  # run_once(): the loop is not the application's
            limit_s = _DAY_S
            board.watchdog(_DAY_S * 1000)
        board.feed()
        await asyncio.sleep(limit_s / 4)
