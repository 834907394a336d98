"""The chip's two heaps, as far as the CPU has to do with them (board/memory.py).

When live objects no longer fit the chip's GC heap, the hardware grows it; what Wi-Fi, TLS and threads hold of the
chip's memory is taken out of the heap of this port as well, so that memory ends where it would on the chip.
"""

import gc

import _bus

_GC = 34
_EVERY = (
    48  # looks at the clock, the flash or anything else of the hardware from one count to the next: counting takes time
)
_PIECE = 2048
_WIDE, _NARROW = 29, 20  # as memory.WIDE

_held = {}  # who: pieces
_held_bytes = 0
_base = 0  # bytes of the shims themselves
_size = 1 << 30  # live bytes that fit the chip's GC heap as it is
_count = 0


def begin(all_bytes):
    """What is there now is the shims'; `all_bytes` of the chip is all that its GC heap could ever have."""
    global _base, _size
    gc.collect()
    _base = gc.mem_alloc()
    hold(None, (gc.mem_free() - 8192) * _NARROW // _WIDE - all_bytes)
    _base += _held_bytes
    _drop_count(None)
    collect()
    _bus.look = look


def _drop_count(who):
    """It belongs to what was there at the start."""
    global _held_bytes
    _held_bytes -= len(_held[who]) * _PIECE


def hold(who, n):
    """`n` bytes of the chip are `who`'s until drop(): MemoryError where they are not there."""
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
    """Bytes of the chip that the program's objects take, garbage with them."""
    return max(0, gc.mem_alloc() - _base - _held_bytes) * _NARROW // _WIDE


def look():
    """Now and then: has it outgrown its heap?"""
    global _count
    _count += 1
    if _count % _EVERY == 0:
        check()


def check():
    """A collection comes first. Before anything else takes memory, too."""
    if live() > _size:
        collect()


def collect():
    global _size
    gc.collect()
    _size = _bus.call(_GC, live())[0]


class Gc:
    """The module as programs get it: what others hold is not in the figures."""

    collect = staticmethod(collect)

    def __getattr__(self, name):
        return getattr(gc, name)

    @staticmethod
    def mem_alloc():
        return gc.mem_alloc() - _held_bytes
