"""The CPU's part of the simulated memory (board/memory.py).

When live objects no longer fit into the chip's GC heap, the hardware grows it. The memory of Wi-Fi, TLS and threads is
allocated from the heap of this port too, so that memory is exhausted when it would be on the chip.
"""

import gc

import _bus

_GC = 34
_EVERY = 48  # uses of the hardware between two checks, since a check takes time
_PIECE = 2048
_WIDE, _NARROW = 29, 20  # as memory.WIDE

_held = {}  # owner: pieces of memory
_held_bytes = 0
_base = 0  # bytes of the shims
_size = 1 << 30  # live bytes that fit into the chip's GC heap at its current size
_count = 0


def begin(all_bytes):
    """Count all objects so far as the shims'. `all_bytes` is the largest possible size of the chip's GC heap."""
    global _base, _size
    gc.collect()
    _base = gc.mem_alloc()
    hold(None, (gc.mem_free() - 8192) * _NARROW // _WIDE - all_bytes)
    _base += _held_bytes
    _drop_count(None)
    collect()
    _bus.look = look


def _drop_count(who):
    """Do not count the memory of `who`: it is part of the base."""
    global _held_bytes
    _held_bytes -= len(_held[who]) * _PIECE


def hold(who, n):
    """Allocate `n` bytes of the chip for `who`, until drop(); MemoryError if they are not free."""
    global _held_bytes
    pieces = []
    for _ in range(n * _WIDE // _NARROW // _PIECE):
        pieces.append(bytearray(_PIECE))
    _held[who] = pieces
    _held_bytes += len(pieces) * _PIECE


def drop(who):
    global _held_bytes
    _held_bytes -= len(_held.pop(who, ())) * _PIECE


def live():
    """Size of the program's objects in bytes of the chip, including garbage."""
    return max(0, gc.mem_alloc() - _base - _held_bytes) * _NARROW // _WIDE


def look():
    """Call check() at every 48th use of the hardware."""
    global _count
    _count += 1
    if _count % _EVERY == 0:
        check()


def check():
    """Collect garbage if the objects no longer fit. Also called before other owners allocate memory."""
    if live() > _size:
        collect()


def collect():
    global _size
    gc.collect()
    _size = _bus.call(_GC, live())[0]


class Gc:
    """The module `gc` for programs: the memory of other owners is not counted."""

    collect = staticmethod(collect)

    def __getattr__(self, name):
        return getattr(gc, name)

    @staticmethod
    def mem_alloc():
        return gc.mem_alloc() - _held_bytes
