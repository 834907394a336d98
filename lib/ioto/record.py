"""What must survive a reset, in two files written in turn: the newer whole one counts.

Each file is one line of JSON `[sequence, data]` and a line with its CRC-32, so a cut at any byte of a write leaves
the other file, on littlefs and on FAT.
"""

import asyncio
import json
from binascii import crc32

from .log import log
from .parts import Part


def encode(seq, data):
    text = json.dumps([seq, data]).encode()
    return b"%s\n%08x\n" % (text, crc32(text) & 0xFFFFFFFF)


class Pair:
    """Two files `path.0` and `path.1`. `damaged` is True when there were files and none was whole."""

    def __init__(self, path):
        self.paths = (path + ".0", path + ".1")
        self.seq = 0
        self.damaged = False
        self._going = None

    def load(self):
        """The newer whole record, or None."""
        with Part():
            from .recall import load

            return load(self)

    def save_now(self, data):
        """Write without yielding; OSError if the file system refuses (the older record still counts)."""
        self._finish()

        def write():
            for _ in self._steps(data):
                pass

        try:
            write()
        except OSError:
            from .space import insist

            insist(self.paths[0][: self.paths[0].rindex("/")], write)

    def keep(self, data):
        """save_now() where life goes on without it, until the next reset; False then."""
        try:
            self.save_now(data)
            return True
        except (OSError, MemoryError) as e:
            log("error", "%s: %r" % (self.paths[0], e))
            return False

    async def save(self, data):
        """As save_now(), with a turn of the loop between the flash operations."""
        self._finish()
        self._going = steps = self._steps(data)
        try:
            for _ in steps:
                await asyncio.sleep_ms(0)
        except OSError:  # no room: at once then, before somebody else takes what is reserved
            self.save_now(data)

    def _finish(self):
        # A save that was begun is ended before the other file is touched: never two unfinished ones.
        going, self._going = self._going, None
        try:
            for _ in going or ():
                pass
        except OSError:  # whoever began it is told
            pass

    def _steps(self, data):
        if not self.seq:  # never loaded: what stands there must not be newer than this
            self.load()
        seq = self.seq + 1
        raw = encode(seq, data)
        f = open(self.paths[seq & 1], "wb")
        try:
            yield
            f.write(raw)
            yield
        finally:
            f.close()
        self.seq = seq
        yield
