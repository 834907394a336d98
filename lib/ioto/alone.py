"""Where memory does not suffice beside the application: a boot without it, in which the agent checks in and downloads (start.alone()).

At most one in each update.period, whoever may be the cause of no_memory.
"""

import asyncio

from .log import log
from .uptime import uptime_s
from .watch import rSignalSync

_ANSWER_S = 60  # for watchers to put the application in order


class Request:
    """What `device:update:alone` asks for; `reason` says why. Unless a watcher defers it the board is reset."""

    def __init__(self, reason):
        self.reason = reason
        self.wait_s = 0

    def defer(self, seconds):
        """Not now: ask again when `seconds` have passed."""
        self.wait_s = max(1, seconds)


async def run(agent):
    """Ask, and reset; returns where that is not to be, and is to be tried again."""
    now, before = agent.board.time_s(), agent.record["alone"]
    period_s = agent.config["update.period"]
    passed_s = now - before if now and before and before <= now else uptime_s()
    if uptime_s() < agent.alone_s or before is not None and passed_s < period_s:
        return
    request = Request(agent.error)
    task = rSignalSync("device:update:alone", request)
    if task:
        try:
            await asyncio.wait_for(task, _ANSWER_S)
        except asyncio.TimeoutError:
            pass
    if request.wait_s:
        agent.alone_s = uptime_s() + request.wait_s
        return
    log("warn", "resetting into a boot without the application: %s" % (agent.error or "update.alone"))
    agent.record["alone"] = now or 0
    if agent.pair.keep(agent.record):  # else it could come back at once
        agent.board.alone(False)
