"""Watchers, after Ioto's rWatch: who wants to know, by event name. Pure: no clock, no network, no flash.

`proc(data, arg)` may be a function or a coroutine function. One that raises is logged and stops nothing.
"""

import asyncio

from .log import log

_watchers = {}


def rWatch(name, proc, data=None):
    """Call `proc(data, arg)` at each signal of `name`, after those registered before."""
    _watchers.setdefault(name, []).append((proc, data))


def rWatchOff(name, proc, data=None):
    """Forget the watcher registered with just these; unknown ones are no error."""
    if (proc, data) in _watchers.get(name, ()):
        _watchers[name].remove((proc, data))


def watchers(name):
    """The (proc, data) pairs of a name, in order; a copy, so that a watcher may take itself off."""
    return tuple(_watchers.get(name, ()))


def rSignal(name, arg=None):
    """Start each watcher of `name` as a task of its own; returns at once."""
    for proc, data in watchers(name):
        asyncio.create_task(_run(name, proc, data, arg))


def rSignalSync(name, arg=None):
    """Run the watchers of `name` now, in order.

    What a coroutine function starts can't end without the loop: its rest runs as a task, in order with the others',
    and that task is returned (await it to know that all are done; None when there was nothing to wait for).
    """
    rest = []
    for proc, data in watchers(name):
        try:
            result = proc(data, arg)
            if hasattr(result, "send"):
                rest.append(result)
        except Exception as e:
            _raised(name, e)
    return asyncio.create_task(_finish(name, rest)) if rest else None


async def _run(name, proc, data, arg):
    try:
        result = proc(data, arg)
        if hasattr(result, "send"):
            await result
    except Exception as e:
        _raised(name, e)


async def _finish(name, coroutines):
    for each in coroutines:
        try:
            await each
        except Exception as e:
            _raised(name, e)


def _raised(name, e):
    log("error", "watcher of %s raised %r" % (name, e))
