"""Feed the watchdog while the loop runs: if the loop blocks forever or ends, the board resets."""

import asyncio

from .uptime import uptime_s

_DAY_S = 86400  # used instead of stopping the watchdog, which is not possible


def guard(agent, limit_s):
    """Start the watchdog and the task that feeds it.

    The task stops feeding it only if a trial takes longer than twice its limit.
    """
    if not 0 < limit_s < _DAY_S:
        limit_s = _DAY_S
    agent.board.watchdog(limit_s * 1000)
    asyncio.create_task(_feed(agent, limit_s))


async def _feed(agent, limit_s):
    board = agent.board
    end_s = uptime_s() + agent.config["trial.limit"] * 2
    while not agent.trial or uptime_s() < end_s:
        # run_once(): the loop does not run all the time
        if not agent.trial and agent.until_s is not None and limit_s < _DAY_S:
            limit_s = _DAY_S
            board.watchdog(_DAY_S * 1000)
        board.feed()
        await asyncio.sleep(limit_s / 4)
