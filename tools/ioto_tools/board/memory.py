"""The chip's memory: the IDF heap, out of which Wi-Fi, TLS, threads and MicroPython's GC heap draw. In bytes of the chip.

The figures are those of a stock ESP32 without PSRAM (docs/virtual-board.md, "Memory"). One free block is assumed.
"""

KB = 1024
GC_BYTES = 56 * KB  # the first area of the GC heap, which is not of the IDF heap
IDF_BYTES = 131 * KB  # free when a program starts: 96 KB once Wi-Fi is up
WIFI_BYTES = 35 * KB
# What TLS takes: (free before the handshake, held while connected)
SMALL_CHAIN = (32 * KB, 25 * KB)  # P-256 root and leaf
LARGE_CHAIN = (41 * KB, 29 * KB)  # RSA-4096 root trusted, an intermediate sent: both shapes of Let's Encrypt
_BUFFERS_BYTES = 20 * KB  # without these a connection fails before any certificate is looked at
_THREAD_BYTES = 512  # beside its stack
FULL = 7, 8  # of the GC heap; beyond it what is free lies in pieces too small, and it grows
WIDE = 29, 20  # bytes of a 64-bit port for those of the chip, as the agent's own objects have it; 2 for pointers, 1 for bytes


class Memory:
    """`idf_bytes` are free at first."""

    def __init__(self, idf_bytes=IDF_BYTES):
        self.total = idf_bytes
        self.areas = []  # that the GC heap has grown by
        self.taken = {}  # who: bytes
        self.least = idf_bytes

    @property
    def free(self):
        return self.total - sum(self.areas) - sum(self.taken.values())

    @property
    def gc_bytes(self):
        return GC_BYTES + sum(self.areas)

    def take(self, who, held, before=0):
        """False where `before` bytes, or those that are `held`, are not free."""
        if who not in self.taken:
            if self.free < max(held, before):
                return False
            self.taken[who] = held
            self._note(before - held)
        return True

    def give(self, who):
        self.taken.pop(who, None)

    def fit(self, live):
        """The GC heap after a collection that has left `live` bytes: empty areas go back; it grows by as much as it has.

        If that is not free, by all that is. Returns how many live bytes fit.
        """
        need = live * FULL[1] // FULL[0]
        while self.areas and need <= self.gc_bytes - self.areas[-1]:
            self.areas.pop()
        while need > self.gc_bytes and self.free:
            self.areas.append(min(max(self.gc_bytes, need - self.gc_bytes), self.free))
            self._note()
        return self.gc_bytes * FULL[0] // FULL[1]

    def _note(self, more=0):
        self.least = min(self.least, self.free - max(0, more))

    def connect(self, who, chain):
        """TLS for connection `who`: bytes that it holds, -1 too little for its buffers, -2 too little to verify `chain`."""
        before, held = chain
        if self.take(who, held, before):
            return held
        return -1 if self.free < _BUFFERS_BYTES else -2

    def thread(self, who, stack_bytes):
        return self.take(who, stack_bytes + _THREAD_BYTES)

    def info(self):
        """As esp32.idf_heap_info(esp32.HEAP_DATA): [(total, free, largest block, least free so far)]."""
        return [(self.total + GC_BYTES, self.free, self.free, self.least)]


def heap_bytes(idf_bytes):
    """What the CPU's heap is made with: everything could become the GC heap's. The shims trim it when they have begun."""
    wide, narrow = WIDE
    return (GC_BYTES + idf_bytes) * wide // narrow + 192 * KB
