"""Moments without memory, for tests: between one use of the hardware and the next one nothing can be allocated.

_faults.note()  # `allocated`: the uses that are followed by an allocation
_faults.fail(n)  # the n-th, counted from here, is followed by MemoryError instead
"""

import gc

import _bus
import _heap
import micropython

allocated = None
_uses = 0
_fails_at = -1
_locked = False
_before = 0


def note():
    global allocated
    allocated = []
    _begin()


def fail(n):
    global _fails_at
    _fails_at = n
    _begin()


def _begin():
    _bus.look = _look
    _bus.used = _used


def _look():
    """Before each use."""
    global _uses, _locked
    if _locked:
        micropython.heap_unlock()
        _locked = False
    elif allocated is not None and gc.mem_alloc() > _before and _uses not in allocated:
        allocated.append(_uses)
    _uses += 1
    _heap.look()


def _used():
    """After it."""
    global _locked, _before
    if allocated is not None:
        _before = gc.mem_alloc()
    elif _uses == _fails_at:
        _locked = True
        micropython.heap_lock()
