"""The first boot of a new image: the application says whether it is well, the cloud answers, then it is confirmed.

Watchers of `device:selftest` are the application's tests: one fails by raising, or by returning False.
"""

import asyncio

from .errors import UpdateError, refusal
from .log import log
from .semver import compare
from .uptime import uptime_s
from .watch import rSignal, rSignalSync, watchers


async def run(agent):
    """True when the trial is over. Else the board is reset, or (False) it goes on: nothing to go back to, no answer on Linux."""
    limit_s = agent.config["trial.limit"]
    record = agent.record
    if _no_rollback(agent):
        if record["why"]:  # a start before this one came to no end
            _give_back(agent, UpdateError(record["why"]))
        record["why"] = "rolled_back"
        await agent.save()
    end_s = uptime_s() + limit_s
    try:
        await _within(limit_s, _tests(agent), "selftest_timeout")
        await _within(max(1, end_s - uptime_s()), _check_in(agent), "trial_timeout")
        await agent.load("update")  # while nothing depends on it
        _raise_floor(agent)
        await asyncio.sleep_ms(0)
        _confirm(agent.board)
    except UpdateError as e:
        if e.reason == "trial_timeout" and agent.board.raw:
            log("warn", "trial: no answer from the cloud yet")
            return False
        _give_back(agent, e)
        return agent.board.raw
    # The outcome, after the act: if this is cut off, the next boot finds the board confirmed and records it.
    life = agent.life
    if agent.record["phase"] == "trial":
        life.confirmed()
    await agent.save()
    rSignal("device:confirmed", life.version())
    return True


async def _within(limit_s, work, reason):
    try:
        await asyncio.wait_for(work, limit_s)
    except asyncio.TimeoutError:
        raise UpdateError(reason, "%d s" % limit_s)


async def _tests(agent):
    """The application's."""
    for proc, data in () if agent.record["tested"] else watchers("device:selftest"):
        try:
            result = proc(data, None)
            if hasattr(result, "send"):
                result = await asyncio.wait_for(result, agent.config["trial.selftest"])
            if result is False:
                raise ValueError("it said no")
        except Exception as e:
            raise UpdateError("selftest_timeout" if isinstance(e, asyncio.TimeoutError) else "selftest_failed", repr(e))


async def _check_in(agent):
    """One whole check-in, without carrying out what it offers: the other slot is the only proven one."""
    wait_s = 1
    while True:
        try:
            await agent.online()
            return await agent.do("checkin", "ask")
        except Exception as e:  # the limit decides
            log("warn", "trial check-in: %r" % e)
            e = refusal(e, "unforeseen")
            if e.reason == "no_memory" and agent.goes_alone():
                agent.record["tested"] = True
                agent.pair.save_now(agent.record)
                agent.board.alone(True)
        await asyncio.sleep_ms(agent.board.spread_ms(wait_s * 1000))
        wait_s = min(60, wait_s * 2)


def _raise_floor(agent):
    # Before the image is confirmed: a cut in between must not open the way back. An NVS that takes no more must not
    # close the way forward: the record is the second witness.
    version = agent.life.version()
    floor = agent.board.floor()
    try:
        if not floor or compare(version, floor) > 0:
            agent.board.raise_floor(version)
    except OSError as e:
        log("error", "the version floor is kept in the record only: %r" % e)


def _confirm(board):
    try:
        if board.boot() != board.running:  # the board's call would approve the other slot
            raise OSError("%s boots next" % board.boot())
        board.confirm()
    except OSError as e:
        raise UpdateError("boot_refused", repr(e))


def _no_rollback(agent):
    """Nobody goes back but we ourselves."""
    return agent.trial != "pending" and not agent.board.raw


def _give_back(agent, e):
    log("error", "trial: %s" % e)
    life, board = agent.life, agent.board
    if board.raw:  # Linux: nothing to go back to, the script has replaced the software
        life.fail(e.reason)
    else:
        agent.record["why"] = e.reason
    agent.pair.keep(agent.record)
    try:
        if _no_rollback(agent):
            board.go_back()
    except OSError as error:  # there is nothing to go back to: perhaps it does better next time
        log("error", "going back: %r" % error)
        return
    rSignalSync("device:rollback", e)
    if not board.raw:
        board.reset()
