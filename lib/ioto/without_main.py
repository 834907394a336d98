"""Starts without main.py, which boot.py chooses."""

import asyncio

from .start import agent, run
from .watch import rWatch

_SAFE_S = 3600
_ALONE_S = 1800


def for_an_hour():
    """The safe mode: the agent without the application, for an hour, and then a reset: perhaps it was the power that failed so often.
    What is staged is applied.
    """
    rWatch("device:update", lambda data, staged: staged.apply())
    made = agent()
    made.error = "safe_mode"
    run(_run(made))


async def _run(made):
    try:
        await asyncio.wait_for(made.run(), _SAFE_S)
    except asyncio.TimeoutError:
        made.board.reset()


async def once():
    """One check-in, and what it brings, without the application; then a reset. What takes longer than half an hour is
    continued in the next one.
    """
    made = agent()
    made.alone = True
    made.board.watchdog(2000 * _ALONE_S)  # not fed, but by a trial: nothing keeps the application away for longer
    await made.run_once(_ALONE_S)
    made.keep_away()
    made.board.reset()
