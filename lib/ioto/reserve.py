"""Reserve memory for TLS.

The GC heap can grow into all free memory of the IDF heap, but not into the stack of a thread. The stack of a waiting
thread therefore reserves the memory for a handshake. The thread ends before each handshake, which frees its stack.
"""

import gc

from .errors import idf_heap

_KB = (46, 38)  # every public chain tested passes with 42 KB free before the handshake, a P-256 chain with 36 KB
ENOUGH = 42 * 1024
END_MS = 20  # time after free() until the thread's memory is free
parked = None  # the lock that the thread waits for


def hold():
    """Reserve the memory, if available and not reserved already."""
    global parked
    if parked or not idf_heap():
        return
    try:
        import _thread
    except ImportError:
        return
    for kb in _KB:
        lock = _thread.allocate_lock()
        lock.acquire()
        _thread.stack_size(kb * 1024)
        try:
            _thread.start_new_thread(lock.acquire, ())
            parked = lock
            break
        except (OSError, RuntimeError, MemoryError):
            pass
    _thread.stack_size(0)


def free():
    """Free the memory for the next handshake; True if memory was reserved.

    The thread takes a few milliseconds to end.
    """
    global parked
    was, parked = parked, None
    if was:
        was.release()
    gc.collect()  # returns empty areas of the GC heap to the IDF heap
    return was
