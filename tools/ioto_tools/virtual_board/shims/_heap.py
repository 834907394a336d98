"""The CPU's part of the simulated memory (virtual_board/memory.py).

When live objects no longer fit into the chip's GC heap, the hardware grows it. The memory of Wi-Fi, TLS and threads is
allocated from the heap of this port too, so that memory is exhausted when it would be on the chip.
"""

import gc

import _bus

# Functions of the shims have comments instead of docstrings: docstrings would fragment the heap of the program.

_GC = 34
_EVERY = 48  # uses of the hardware between two checks, since a check takes time
_PIECE = 2048
_WIDE, _NARROW = 29, 20  # as memory.PORT_TO_CHIP

_held = {}  # owner: pieces of memory
_held_bytes = 0
_base = 0  # bytes of the shims
_size = 1 << 30  # live bytes that fit into the chip's GC heap at its current size
_count = 0


# Count all objects so far as the shims'. `all_bytes` is the largest possible size of the chip's GC heap.
def begin(all_bytes):
    global _base, _size
    gc.collect()
    _base = gc.mem_alloc()
    hold(None, (gc.mem_free() - 8192) * _NARROW // _WIDE - all_bytes)
    _base += _held_bytes
    _drop_count(None)
    collect()
    _bus.look = look


# Do not count the memory of `who`: it is part of the base.
def _drop_count(who):
    global _held_bytes
    _held_bytes -= len(_held[who]) * _PIECE


# Allocate `n` bytes of the chip for `who`, until drop(); MemoryError if they are not free.
def hold(who, n):
    global _held_bytes
    pieces = []
    for _ in range(n * _WIDE // _NARROW // _PIECE):
        pieces.append(bytearray(_PIECE))
    _held[who] = pieces
    _held_bytes += len(pieces) * _PIECE


def drop(who):
    global _held_bytes
    _held_bytes -= len(_held.pop(who, ())) * _PIECE


# Size of the program's objects in bytes of the chip, including garbage.
def live():
    return max(0, gc.mem_alloc() - _base - _held_bytes) * _NARROW // _WIDE


# Call check() at every 48th use of the hardware.
def look():
    global _count
    _count += 1
    if _count % _EVERY == 0:
        check()


# Collect garbage if the objects no longer fit. Also called before other owners allocate memory.
def check():
    if live() > _size:
        collect()


def collect():
    global _size
    gc.collect()
    _size = _bus.call(_GC, live())[0]


# The module `gc` for programs: the memory of other owners is not counted.
class Gc:
    collect = staticmethod(collect)

    def __getattr__(self, name):
        return getattr(gc, name)

    @staticmethod
    def mem_alloc():
        return gc.mem_alloc() - _held_bytes
