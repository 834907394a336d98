"""What must survive a reset, in two files written in turn: the newer whole one counts.

Each file is one line of JSON `[sequence, data]` and a line with its CRC-32, so a cut at any byte of a write leaves
the other file, on littlefs and on FAT.
"""

import asyncio
import json
from binascii import crc32

from .log import log


def empty():
    """A record that knows nothing yet; every key the agent keeps."""
    return {
        "phase": "idle",
        "update": None,  # the offer in work, and slot; skip (bytes in front of the image), image (its SHA-256) and by (key) once known
        "attempt": 0,  # of that update; counts swaps and failed downloads
        "head": "",  # hex of the first 16 bytes of the image, kept out of the slot until the swap
        "offered": 0,  # Unix seconds of the last check-in whose reply offered what is in work, 0 if another did
        "why": "",  # reason with which the trial boot gave up, for the boot after it
        "outages": 0,  # trials in a row that ended for lack of a cloud
        "floor": "",  # highest version ever confirmed
        "slots": {},  # label -> {version, image (SHA-256), build, stated (ioto.json's version then)} installed there
        "failed": [],  # [update, checksum, how it ended, retry, attempt] not to be tried again, but with a higher `retry` (-1: it was dropped)
        "reports": [],  # not yet delivered
        "defer": None,  # Unix seconds before which a staged update is not offered
        "tried": None,  # Unix seconds of the last check-in (schedule.due_s), 0 if there was no clock
        "failures": 0,  # failed check-ins in a row
        "alone": None,  # Unix seconds of the last boot without the application, 0 if there was no clock
        "away": 0,  # seconds that it took
        "tested": False,  # in a trial: the application's self-tests have passed, the check-in is left to such a boot
        "short": 0,  # check-ins and downloads in a row that ended with no_memory
        "hold": 0,  # seconds that the cloud asked us to stay away after it
        "time": 0,  # Unix seconds, last known for sure: both the clock and the cloud have said so
        "id": "",  # made for `"id": "auto"`
    }


def copied(record):
    """What to go back to when a change of the record can't be saved."""
    return {key: value.copy() if hasattr(value, "copy") else value for key, value in record.items()}


def encode(seq, data):
    text = json.dumps([seq, data]).encode()
    return b"%s\n%08x\n" % (text, crc32(text) & 0xFFFFFFFF)


def decode(raw):
    """(sequence, data), or None if not whole."""
    try:
        text, crc, end = raw.split(b"\n")
        if not end and int(crc, 16) == crc32(text) & 0xFFFFFFFF:
            seq, data = json.loads(text)
            if isinstance(seq, int) and isinstance(data, dict):
                return seq, data
    except (ValueError, TypeError):
        pass
    return None


class Pair:
    """Two files `path.0` and `path.1`. `damaged` is True when there were files and none was whole."""

    def __init__(self, path):
        self.paths = (path + ".0", path + ".1")
        self.seq = 0
        self.damaged = False
        self._going = None

    def load(self):
        """The newer whole record, or None."""
        best = None
        seen = 0
        for path in self.paths:
            try:
                with open(path, "rb") as f:
                    raw = f.read()
            except OSError:
                continue
            seen += bool(raw)
            found = decode(raw)
            if found and (best is None or found[0] > best[0]):
                best = found
        if best:
            self.seq = best[0]
            return best[1]
        self.damaged = seen > 0
        return None

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
