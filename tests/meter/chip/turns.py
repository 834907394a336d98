"""The loop, one turn at a time: the port's own event loop, with the meter's timer.

Imports all other modules; their order decides which names are interned before a file is measured.
"""

import asyncio
import asyncio.core as core
import binascii
import builtins
import gc
import hashlib
import json
import micropython
import os
import struct
import sys
import time

import errno
import esp32
import machine
import network
import socket
import tls
from _asyncio import TaskQueue

_last = 0
due_ms = -1  # until the next turn; -1: nothing is waiting
_first = True  # task of this turn: only one is run in each
resident = []
top = 0  # bytes at the end of what was called, before the collection that follows it
between = 0  # most garbage between two collections of the agent, or to the end
alone = {}  # bytes that each of its modules takes: what an import leaves is no garbage
counted = {}  # module: is it, since it was loaded?
_imported = 0
main = {"turns": sys.modules["turns"]}


def _schedule(ms):
    global due_ms
    due_ms = ms


def _until(a, b):
    """ticks_diff() for core._run_iter: run the first task of a turn, and ask for a new turn for the next one."""
    global _first
    ms = time.ticks_diff(a, b)
    if _first:
        _first = ms > 0
        return ms
    return max(1, ms)


class _Always:
    """A select that finds everything ready."""

    def _again(self, s):
        task = core.cur_task
        core._task_queue.push(task)

    queue_read = queue_write = _again

    def remove(self, task):
        pass


def turn():
    global due_ms, _first
    due_ms = -1
    _first = True
    _began()
    core._run_iter()
    most()
    return due_ms


def execute(statement):
    _began()
    exec(statement, main)
    most()


def most():
    """The end of a statement or a turn."""
    global top
    top = gc.mem_alloc()
    _collected()


def _began():
    global _last, _imported, between
    _last = gc.mem_alloc()
    _imported = between = 0


def _collected():
    global _last, _imported, between
    now = gc.mem_alloc()
    between = max(between, now - _last - _imported)
    _last = now
    _imported = 0


def _import(*arguments):
    """What an import leaves is counted, and nothing allocated for it."""
    global _imported
    for name in alone:
        if name not in sys.modules:
            counted[name] = False
    found = _imports(*arguments)
    for name in alone:
        if name in sys.modules and not counted[name]:
            counted[name] = True
            _imported += alone[name]
    return found


class Gc:
    """The module, for the agent: counts its collections, and does them after the turn; this port can't sooner."""

    def __getattr__(self, name):
        return getattr(gc, name)

    def collect(self):
        _collected()
        gc.collect()


def doing():
    """Of socket: -1 nothing, 0 a datagram, 1 POST, 2 GET."""
    return -1 if socket.asking is None else socket.asking


_unix_s = time.time
_imports = builtins.__import__
builtins.__import__ = _import
os.urandom = lambda n: bytes(range(n))
time.time = lambda: int(_unix_s())
sys.modules["gc"] = Gc()
core.ticks_diff = _until
core._schedule_run_iter = _schedule
core._task_queue = TaskQueue(_schedule)
core._io_queue = _Always()
alloc = gc.mem_alloc
names = micropython.qstr_info
collect = gc.collect


def release(name):
    """As the agent releases a part, and what that has imported; but what every start imports stays."""
    if name in ("ioto", "ioto.start", "ioto.agent"):
        resident[:] = [each for each in sys.modules]
        return
    for each in [each for each in sys.modules if each[:5] == "ioto." and each not in resident]:
        del sys.modules[each]
        if hasattr(sys.modules["ioto"], each[5:]):
            delattr(sys.modules["ioto"], each[5:])


def set_alone(text):
    alone.update(json.loads(text))
    counted.update(alone)


def begin(made):
    asyncio.create_task(made.run())
