"""Request a boot without the application, for a check-in and download that need its memory (start.alone()).

There is at most one such boot per update.period, even if no_memory occurs again.
"""

import asyncio

from .log import log
from .uptime import uptime_s
from .watch import rSignalSync

_ANSWER_S = 60  # time for watchers to shut down the application


class Request:
    """The argument of `device:update:alone`, with the `reason`. Unless a watcher defers it, the board is reset."""

    def __init__(self, reason):
        self.reason = reason
        self.wait_s = 0

    def defer(self, seconds):
        """Postpone the boot: it is not requested again before `seconds` have passed."""
        self.wait_s = max(1, seconds)


async def run(agent):
    """Signal the request and reset; returns if the boot is not allowed yet, is deferred, or can't be recorded."""
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
    from .starts import alone

    log("warn", "resetting into a boot without the application: %s" % (agent.error or "update.alone"))
    agent.record["alone"] = now or 0
    if agent.store.keep(agent.record):  # an unrecorded boot could be repeated immediately
        alone(False)
