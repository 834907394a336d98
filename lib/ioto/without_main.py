"""Starts without main.py: safe mode and a single check-in, both selected by boot.py."""

import asyncio

from .parts import Part
from .uptime import uptime_s
from .watch import rWatch

_SAFE_S = 3600
_ALONE_S = 1800


async def for_an_hour(made):
    """Safe mode: run the agent without the application for an hour and apply a staged update.

    Then reset, because the failed starts may have been power failures.
    """
    rWatch("device:update", lambda data, staged: staged.apply())
    made.error = "safe_mode"
    with Part():
        from .starts import keep

        keep()
    try:
        await asyncio.wait_for(made.run(), _SAFE_S)
    except asyncio.TimeoutError:
        made.board.reset()


async def once(agent):
    """Do one check-in without the application, and the download that follows from it; then reset.

    A download that takes longer than half an hour is resumed in the next such boot.
    """
    made = agent()
    made.alone = True
    made.board.watchdog(2000 * _ALONE_S)  # fed only in a trial, so nothing keeps the application stopped for longer
    await made.run_once(_ALONE_S)
    if made.begun:  # otherwise the record has not been loaded
        made.record["away"] = uptime_s()  # the next such boot reports it
        made.store.keep(made.record)
    from .starts import intended

    intended()
    made.board.reset()
