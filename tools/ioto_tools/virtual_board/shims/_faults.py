"""Memory failures for tests: between two uses of the hardware nothing can be allocated.

_faults.note()  # collect in `allocated` the numbers of the uses that are followed by an allocation
_faults.fail(n)  # after the n-th use from now on, allocations raise MemoryError
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


# Called before each use of the hardware.
def _look():
    global _uses, _locked
    if _locked:
        micropython.heap_unlock()
        _locked = False
    elif allocated is not None and gc.mem_alloc() > _before and _uses not in allocated:
        allocated.append(_uses)
    _uses += 1
    _heap.look()


# Called after each use of the hardware.
def _used():
    global _locked, _before
    if allocated is not None:
        _before = gc.mem_alloc()
    elif _uses == _fails_at:
        _locked = True
        micropython.heap_lock()
