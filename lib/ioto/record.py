"""Store the record, which must survive a reset, in two files written alternately; the newer valid one counts.

Each file contains a line of JSON, `[sequence, data]`, and a line with its CRC-32. After a power cut at any byte of a
write the other file is still valid, on littlefs and on FAT.
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
    """The two files `path.0` and `path.1`. `damaged` is True if files existed and none was valid."""

    def __init__(self, path):
        self.paths = (path + ".0", path + ".1")
        self.seq = 0
        self.damaged = False
        self._going = None

    def load(self):
        """Return the newer valid record, or None."""
        with Part():
            from .recall import load

            return load(self)

    def save_now(self, data):
        """Write without yielding; OSError if the file system refuses (the older record remains valid)."""
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
        """Like save_now(), but log a failure and return False.

        The agent continues; the data is lost at the next reset unless a later save succeeds.
        """
        try:
            self.save_now(data)
            return True
        except (OSError, MemoryError) as e:
            log("error", "%s: %r" % (self.paths[0], e))
            return False

    async def save(self, data):
        """Like save_now(), but yield to the event loop between the flash operations."""
        self._finish()
        self._going = steps = self._steps(data)
        try:
            for _ in steps:
                await asyncio.sleep_ms(0)
        except OSError:  # no space: save without yielding, before another task uses the reserved space
            self.save_now(data)

    def _finish(self):
        # Finish a started save before the other file is touched, so that there are never two unfinished files.
        going, self._going = self._going, None
        try:
            for _ in going or ():
                pass
        except OSError:  # the caller that started it gets the error
            pass

    def _steps(self, data):
        if not self.seq:  # never loaded: this record must get a higher number than the stored ones
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
