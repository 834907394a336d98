"""Behind the first boot of an image: the watchdog is fed while the loop runs, but no trial that outlives its time."""

import asyncio

from .uptime import uptime_s

_DAY_S = 86400  # it cannot be taken off again: a day is as good


async def guard(agent):
    """A task, for ever. Without a trial it is for the watchdog that boot.py has armed, whatever the configuration says.

    Nor is a trial fed whose tasks go on and on: twice its limit, and the board resets.
    """
    board = agent.board
    end_s = uptime_s() + agent.config["trial.limit"] * 2
    limit_s = 0
    while not agent.trial or uptime_s() < end_s:
        was_s = limit_s
        limit_s = agent.config["watchdog"] if agent.trial else _DAY_S
        if not 0 < limit_s < _DAY_S:
            limit_s = _DAY_S
        if limit_s != was_s:
            board.watchdog(limit_s * 1000)
        board.feed()
        await asyncio.sleep(limit_s / 4)
