"""MicroPython's `_thread`, only as far as threads need memory.

A thread runs when it is started, until it waits for a lock that is taken. Then it is parked with its stack, and ends
when the lock is released: the rest of its function does not run.
"""

import _bus
import _heap

_THREAD = 36
_stack_bytes = 4096
_count = 0
_parked = {}  # lock: [threads]


class _Parked(BaseException):
    def __init__(self, lock):
        self.lock = lock


class LockType:
    _taken = False

    def acquire(self, wait=1, timeout=-1):
        if not self._taken:
            self._taken = True
            return True
        if not wait:
            return False
        raise _Parked(self)

    __enter__ = acquire

    def release(self):
        self._taken = False
        for who in _parked.pop(self, ()):
            _end(who)

    def __exit__(self, *exception):
        self.release()

    def locked(self):
        return self._taken


def allocate_lock():
    return LockType()


def stack_size(n=0):
    global _stack_bytes
    before, _stack_bytes = _stack_bytes, max(4096, n)
    return before


def get_ident():
    return 1


def exit():
    raise SystemExit


def start_new_thread(function, args, kwargs={}):
    global _count
    _count += 1
    _heap.check()
    if _bus.call(_THREAD, _count, _stack_bytes)[0] < 0:
        raise OSError("can't create thread")
    who = "thread", _count
    _heap.hold(who, _stack_bytes)
    try:
        function(*args, **kwargs)
    except _Parked as e:
        _parked.setdefault(e.lock, []).append(who)
        return who[1]
    except SystemExit:
        pass
    _end(who)
    return who[1]


def _end(who):
    _bus.call(_THREAD, who[1], -1)
    _heap.drop(who)
