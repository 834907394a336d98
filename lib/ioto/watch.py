"""Watchers of events by name, modelled on Ioto's rWatch. Pure: no clock, no network, no flash.

`proc(data, arg)` may be a function or a coroutine function. If it raises, the exception is logged and the other
watchers still run.
"""

import asyncio

from .log import log

_watchers = {}


def rWatch(name, proc, data=None):
    """Call `proc(data, arg)` at each signal of `name`, after the watchers registered earlier."""
    _watchers.setdefault(name, []).append((proc, data))


def rWatchOff(name, proc, data=None):
    """Remove the watcher registered with the same arguments; an unknown one is not an error."""
    if (proc, data) in _watchers.get(name, ()):
        _watchers[name].remove((proc, data))


def watchers(name):
    """The (proc, data) pairs of a name, in order; a copy, so that a watcher may remove itself."""
    return tuple(_watchers.get(name, ()))


def rSignal(name, arg=None):
    """Start each watcher of `name` as a separate task and return immediately."""
    for proc, data in watchers(name):
        asyncio.create_task(_run(name, proc, data, arg))


def rSignalSync(name, arg=None):
    """Run the watchers of `name` now, in order.

    Coroutines can only finish in the loop. They run in order in one task, which is returned; await it to wait until all
    are done. Returns None if there are no coroutines.
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
