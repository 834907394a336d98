"""Memory kept for TLS. The GC heap grows into whatever the IDF heap has, but not into the stack of a thread.

So a thread that only waits keeps what a handshake takes; it ends before each handshake, which frees the stack at once.
"""

import gc

from .errors import UpdateError

_KB = (46, 38)  # every public chain tried passes with 42 KB free before the handshake, a chain of P-256 with 36
ENOUGH = 42 * 1024
END_MS = 20  # after free(), until the memory of the thread is free
parked = None  # which the thread waits for


def idf_heap():
    """(bytes free, largest block of them) of the IDF heap; None where there is none."""
    try:
        from esp32 import HEAP_DATA, idf_heap_info
    except ImportError:
        return None
    regions = idf_heap_info(HEAP_DATA)
    return sum([region[1] for region in regions]), max([region[2] for region in regions])


def no_memory(e):
    """UpdateError no_memory because of the exception `e`, with the numbers."""
    return UpdateError("no_memory", "GC heap %d bytes used, IDF heap %s free and largest block: %r" % (gc.mem_alloc(), idf_heap(), e))


def hold():
    """Keep the memory, if it can be had and is not kept already."""
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
    """Give it to the handshake that follows; the thread takes a few milliseconds to end. Was there anything to give?"""
    global parked
    was, parked = parked, None
    if was:
        was.release()
    gc.collect()  # areas of the GC heap that are empty go back to the IDF heap
    return was
