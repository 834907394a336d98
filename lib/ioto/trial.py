"""The trial: on the first boot of a new image, run the self-tests and a check-in, then confirm the image.

Watchers of `device:selftest` are the application's self-tests; a test fails if it raises an exception or returns False.
"""

import asyncio

from .errors import UpdateError, refusal
from .log import log
from .parts import Part
from .semver import compare
from .uptime import uptime_s
from .watch import rSignal, rSignalSync, watchers


async def run(agent):
    """Run the trial; True if it is finished.

    False: the next round continues the trial. Either there is no image to roll back to, or, on Linux, the cloud has not
    answered yet. In all other cases the board is reset.
    """
    limit_s = agent.config["trial.limit"]
    record = agent.record
    if _no_rollback(agent):
        if record["why"]:  # an earlier start did not complete the trial
            with Part():
                from .starts import keep

                keep()
            _give_back(agent, UpdateError(record["why"]))
        record["why"] = "rolled_back"
        await agent.save()
    end_s = uptime_s() + limit_s
    try:
        await _within(limit_s, _tests(agent), "selftest_timeout")
        await _within(max(1, end_s - uptime_s()), _check_in(agent), "trial_timeout")
        # Before the image is confirmed, while a failure does no harm.
        await agent.load("update" if agent.board.raw else "update diary")
        _raise_floor(agent)
        await asyncio.sleep_ms(0)
        _confirm(agent.board)
    except UpdateError as e:
        if e.reason == "trial_timeout" and agent.board.raw:
            log("warn", "trial: no answer from the cloud yet")
            return False
        _give_back(agent, e)
        return agent.board.raw
    # Record the outcome after the confirmation: after a reset in between, the next boot finds the image confirmed and
    # records it.
    life = agent.life
    if agent.record["phase"] == "trial":
        life.confirmed()
    await agent.save()
    if not agent.board.raw:
        from .diary import stop

        stop()
    rSignal("device:confirmed", life.version())
    return True


async def _within(limit_s, work, reason):
    try:
        await asyncio.wait_for(work, limit_s)
    except asyncio.TimeoutError:
        raise UpdateError(reason, "%d s" % limit_s)


async def _tests(agent):
    """Run the application's self-tests."""
    for proc, data in () if agent.record["tested"] else watchers("device:selftest"):
        try:
            result = proc(data, None)
            if hasattr(result, "send"):
                result = await asyncio.wait_for(result, agent.config["trial.selftest"])
            if result is False:
                raise ValueError("it returned False")
        except Exception as e:
            _keep_traceback(agent, e)
            raise UpdateError("selftest_timeout" if isinstance(e, asyncio.TimeoutError) else "selftest_failed", repr(e))


def _keep_traceback(agent, e):
    if agent.board.raw or isinstance(e, asyncio.TimeoutError):
        return
    try:
        with Part():
            from .failure import remember, text
            from .starts import keep

            remember(text(e), agent)
            keep(True)
    except Exception as error:  # the report is then without it
        log("warn", "traceback: %r" % error)


async def _check_in(agent):
    """Do one complete check-in, but ignore its offer: a download would overwrite the only proven image."""
    wait_s = 1
    while True:
        try:
            await agent.online()
            return await agent.do("checkin", "ask")
        except Exception as e:  # retried until the limit
            log("warn", "trial check-in: %r" % e)
            e = refusal(e, "unforeseen")
            if e.reason == "no_memory" and agent.goes_alone():
                from .starts import alone

                agent.record["tested"] = True
                agent.store.save_now(agent.record)
                alone(True)
        await asyncio.sleep_ms(agent.board.spread_ms(wait_s * 1000))
        wait_s = min(60, wait_s * 2)


def _raise_floor(agent):
    # Before the image is confirmed: a power cut in between must not allow a downgrade. A full NVS must not prevent the
    # update: the record also stores the floor.
    version = agent.life.version()
    floor = agent.board.floor()
    try:
        if not floor or compare(version, floor) > 0:
            agent.board.raise_floor(version)
    except OSError as e:
        log("error", "version floor stored only in the record: %r" % e)


def _confirm(board):
    try:
        if board.boot() != board.running:  # board.confirm() would confirm the other slot's image
            raise OSError("%s boots next" % board.boot())
        board.confirm()
    except OSError as e:
        raise UpdateError("boot_refused", repr(e))


def _no_rollback(agent):
    """True if the bootloader does not roll back, so the agent must."""
    return agent.trial != "pending" and not agent.board.raw


def _give_back(agent, e):
    log("error", "trial: %s" % e)
    life, board = agent.life, agent.board
    if board.raw:  # Linux: no rollback, the script has replaced the software
        life.fail(e.reason)
    else:
        agent.record["why"] = e.reason
    agent.store.keep(agent.record)
    try:
        if _no_rollback(agent):
            board.go_back()
    except OSError as error:  # no image to roll back to: the next trial may succeed
        log("error", "can't roll back: %r" % error)
        return
    rSignalSync("device:rollback", e)
    if not board.raw:
        board.reset()
