"""The chip's memory: the IDF heap, shared by Wi-Fi, TLS, threads and MicroPython's GC heap.

All sizes are bytes on the chip. The figures apply to a standard ESP32 without PSRAM (docs/virtual-board.md,
"Memory"). The free memory is assumed to be one block.
"""

KB = 1024
GC_BYTES = 56 * KB  # the first area of the GC heap, which is not part of the IDF heap
IDF_BYTES = 131 * KB  # free when a program starts: 96 KB once Wi-Fi is up
WIFI_BYTES = 35 * KB
# Memory for TLS: (required free before the handshake, allocated while connected)
SMALL_CHAIN = (32 * KB, 25 * KB)  # P-256 root and leaf
LARGE_CHAIN = (41 * KB, 29 * KB)  # trusted RSA-4096 root and one intermediate, as in both chains of Let's Encrypt
_BUFFERS_BYTES = 20 * KB  # with less, a connection fails before any certificate is verified
_THREAD_BYTES = 512  # memory for a thread, in addition to its stack
USABLE = 7, 8  # usable fraction of the GC heap: above it the free memory is too fragmented, and the heap grows
# Ratio of bytes on a 64-bit port to bytes on the chip, for the agent's own objects. It is 2 for pointers, 1 for bytes.
PORT_TO_CHIP = 29, 20

Owner = str | int  # "wifi", "thread N", or the number of a socket


class Memory:
    """The IDF heap with `idf_bytes` free at the start."""

    def __init__(self, idf_bytes: int = IDF_BYTES) -> None:
        self.total = idf_bytes
        self.areas: list[int] = []  # sizes of the areas added to the GC heap
        self.allocations: dict[Owner, int] = {}
        self.min_free = idf_bytes

    @property
    def free(self) -> int:
        return self.total - sum(self.areas) - sum(self.allocations.values())

    @property
    def gc_bytes(self) -> int:
        return GC_BYTES + sum(self.areas)

    def allocate(self, owner: Owner, held: int, before: int = 0) -> bool:
        """Allocate `held` bytes for `owner`; False if fewer than `before` or `held` bytes are free."""
        if owner not in self.allocations:
            if self.free < max(held, before):
                return False
            self.allocations[owner] = held
            self._note_minimum(before - held)
        return True

    def release(self, owner: Owner) -> None:
        self.allocations.pop(owner, None)

    def resize_gc_heap(self, live: int) -> int:
        """Resize the GC heap after a collection that left `live` bytes: free empty areas, or grow by the current size.

        If less memory is free, the GC heap grows by all free memory. Returns how many live bytes fit.
        """
        need = live * USABLE[1] // USABLE[0]
        while self.areas and need <= self.gc_bytes - self.areas[-1]:
            self.areas.pop()
        while need > self.gc_bytes and self.free:
            self.areas.append(min(max(self.gc_bytes, need - self.gc_bytes), self.free))
            self._note_minimum()
        return self.gc_bytes * USABLE[0] // USABLE[1]

    def _note_minimum(self, more: int = 0) -> None:
        self.min_free = min(self.min_free, self.free - max(0, more))

    def allocate_tls(self, owner: Owner, chain: tuple[int, int]) -> int:
        """Allocate the memory of TLS for connection `owner`; returns its size.

        -1 if too little is free for the buffers, -2 if too little to verify `chain`.
        """
        before, held = chain
        if self.allocate(owner, held, before):
            return held
        return -1 if self.free < _BUFFERS_BYTES else -2

    def allocate_thread(self, owner: Owner, stack_bytes: int) -> bool:
        return self.allocate(owner, stack_bytes + _THREAD_BYTES)

    def heap_info(self) -> list[tuple[int, int, int, int]]:
        """Like esp32.idf_heap_info(esp32.HEAP_DATA): [(total, free, largest block, minimum free so far)]."""
        return [(self.total + GC_BYTES, self.free, self.free, self.min_free)]


def heap_bytes(idf_bytes: int) -> int:
    """The heap size with which the CPU's process starts: all memory could become GC heap.

    The shims limit the usable part after they start.
    """
    on_port, on_chip = PORT_TO_CHIP
    return (GC_BYTES + idf_bytes) * on_port // on_chip + 192 * KB
