"""Watchers: their order and tasks; one that raises an exception does not stop the others."""

import asyncio

from ioto import log
from ioto.watch import rSignal, rSignalSync, rWatch, rWatchOff, watchers


def collect(signal, procs):
    """Register `procs` under one name, signal it, run the event loop, return what they did and what was logged."""
    seen, logged = [], []
    log.to(lambda level, message: logged.append(level))

    async def main():
        made = [make(seen) for make in procs]
        for i, proc in enumerate(made):
            rWatch("x", proc, i)
        rest = signal("x", "arg")
        seen.append("returned")
        if rest:
            await rest
        for _ in range(5):
            await asyncio.sleep(0)
        for i, proc in enumerate(made):
            rWatchOff("x", proc, i)

    asyncio.run(main())
    log.to(None)
    assert watchers("x") == ()
    return seen, logged


def plain(seen):
    return lambda data, arg: seen.append((data, arg))


def coroutine(seen):
    async def proc(data, arg):
        await asyncio.sleep(0)
        seen.append((data, arg))

    return proc


def raises(seen):
    def proc(data, arg):
        raise ValueError(data)

    return proc


def raises_later(seen):
    async def proc(data, arg):
        raise OSError(data)

    return proc


def mixes():
    kinds = (plain, coroutine, raises, raises_later)
    return [(a, b, c) for a in kinds for b in kinds for c in kinds]


def test_sync_runs_functions_now_and_the_rest_in_order():
    for procs in mixes():
        seen, logged = collect(rSignalSync, procs)
        now = [(i, "arg") for i, p in enumerate(procs) if p is plain]
        later = [(i, "arg") for i, p in enumerate(procs) if p is coroutine]
        assert seen == now + ["returned"] + later, procs
        assert len(logged) == sum(p in (raises, raises_later) for p in procs)


def test_signal_returns_at_once_and_runs_all():
    for procs in mixes():
        seen, logged = collect(rSignal, procs)
        assert seen[0] == "returned"
        assert sorted(seen[1:]) == [(i, "arg") for i, p in enumerate(procs) if p in (plain, coroutine)], procs
        assert len(logged) == sum(p in (raises, raises_later) for p in procs)


def test_off_removes_only_that_watcher():
    def proc(data, arg):
        pass

    rWatch("y", proc, 1)
    rWatch("y", proc, 2)
    rWatchOff("y", proc, 3)
    rWatchOff("nobody", proc)
    assert watchers("y") == ((proc, 1), (proc, 2))
    rWatchOff("y", proc, 1)
    assert watchers("y") == ((proc, 2),)
    rWatchOff("y", proc, 2)
    assert watchers("y") == ()


def test_log_without_listener_and_with_levels():
    seen = []
    log.log("error", "nobody listens")
    for most in range(4):
        seen.clear()
        log.to(lambda level, message: seen.append(level), log.LEVELS[most])
        for level in log.LEVELS:
            log.log(level, "x")
        assert seen == list(log.LEVELS[: most + 1])
    log.to(None)
