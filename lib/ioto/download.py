"""From a url into a slot: one buffer, 4 KiB at a time, taken up again where it was lost.

The transport (http.py, blocking.py) and the slot are handed in. OSError: the connection, tried again here a few times
and by the agent later; UpdateError: this file will not do.
"""

import asyncio

from .bounds import ENVELOPE_BYTES, fits
from .errors import Paused, UpdateError
from .http_parse import content_range
from .log import log
from .release import unwrap
from .slot import BLOCK, Writer

RETRIES = 6  # connections in a row that bring nothing
_SAVE_EVERY = 8  # blocks: 32 KiB may be fetched twice after a power cut, of the 64 KiB allowed


class Download:
    """One image on its way into `slot`.

    `update` is the record's. `examine(pair)` is asked, before the first erase, about what unwrap() found in front of the
    image: it enters `skip` (bytes in front), `image` (SHA-256 that the slot is to hold) and `by` (whose signature, if any), and
    returns the manifest or None.
    `place` (a record.Pair) keeps how far it got, under `name`; `go()` says at each save whether to go on; `progress(done, size)`.
    """

    def __init__(self, client, update, slot, board, place, name, buf, throttle_ms, examine, go, progress):
        self.client = client
        self.update = update
        self._examine = examine
        self.slot = slot
        self.board = board
        self.place = place
        self._name = name
        self._throttle_ms = throttle_ms
        self._go = go
        self._progress = progress
        self.buf = buf
        self.n = 0  # next block
        self.size = update["size"]
        self._etag = None
        self.writer = None

    async def run(self):
        """Fetch, write, verify; returns the Writer, whose `head` seals the slot. May take hours with `throttle`."""
        await self._take_up()
        failures = 0
        while True:
            before = self.n
            try:
                await self._connection()
                break
            except OSError as e:
                failures = 1 if self.n > before else failures + 1
                log("warn", "download lost at block %d: %r" % (self.n, e))
                if failures > RETRIES:
                    raise
                await asyncio.sleep_ms(self.board.spread_ms(1000 << failures))
        found = self.writer.digest()
        if found != self.update["image" if self.update.get("by") else "checksum"]:
            raise UpdateError("checksum_mismatch", found)
        return self.writer

    def _begin(self, size):
        self.size = size
        self.writer = Writer(self.slot, size, self.board.chip, self.board.raw)
        self.n = 0

    async def _take_up(self):
        """After a reset: hash again what the slot holds of this very update."""
        was = self.place.load()
        known = self.update.get("by") or self.update.get("skip") == 0  # else the hash begins with what is not in the slot
        if known and was and was["of"] == self._name and was["n"] * BLOCK < was["size"]:
            self._begin(was["size"])
            try:
                await self.writer.reread(was["n"], bytes.fromhex(was["head"]), self.buf)
                self.n = was["n"]
                log("info", "download taken up at block %d" % self.n)
            except (UpdateError, OSError) as e:
                log("warn", "not taken up: %r" % e)
                self._begin(was["size"])

    async def _connection(self):
        """Everything that one connection brings; returns when the image is whole."""
        headers = {}
        if self.n:
            headers["Range"] = "bytes=%d-" % (self.update["skip"] + self.n * BLOCK)
            if self._etag:
                headers["If-Range"] = self._etag
        reply = await self.client.request("GET", self.update["url"], headers)
        try:
            self._accept(reply)
            await self._blocks(reply)
        finally:
            await reply.close()

    def _accept(self, reply):
        """Status and lengths: does this reply go on where we are?"""
        if self.n and reply.status in (206, 416):
            skip = self.update["skip"]
            size = skip + self.size
            said = reply.headers.get("content-range", "")
            if content_range(said) != (skip + self.n * BLOCK, size - 1, size):
                self._begin(self.size)  # not the range we asked for: begin again
                raise OSError("Content-Range " + said)
        elif reply.status != 200:
            raise UpdateError("http_status", reply.status)
        else:
            announced = self.update["size"]
            size = announced if reply.length is None else reply.length
            if size is None or announced not in (None, size):
                raise UpdateError("size_mismatch", "%s, announced %s" % (size, announced))
            fits(size, self.slot.size + ENVELOPE_BYTES)
            self.update["skip"] = None  # not known yet
            self._begin(size)
        self._etag = reply.headers.get("etag")

    async def _blocks(self, reply):
        while self.n * BLOCK < self.size:
            left = self.size - self.n * BLOCK
            block = self.buf if left >= BLOCK else self.buf[:left]
            if not reply.ready(block) and await reply.readinto(block) != len(block):
                raise UpdateError("size_mismatch", "ends before %d" % self.size)
            if self.update["skip"] is None:
                said = await self._examine(unwrap(block))
                if said:  # the file's first bytes were an envelope
                    self._begin(self.size - ENVELOPE_BYTES)
                    if not self.update.get("by"):  # the cloud's checksum, over the whole file, is all there is
                        self.writer.sha.update(block)
                    if self.size != said["size"]:
                        raise UpdateError("manifest_mismatch", "size %d, is %d" % (said["size"], self.size))
                    continue
            self.writer.feed(self.n, block)
            try:
                self.slot.erase(self.n)
                await asyncio.sleep_ms(0)  # one flash operation a turn of the loop
                self.slot.write(self.n, block, 0)
                await asyncio.sleep_ms(0)
                self.writer.look(self.n, block)
            except OSError as e:  # not the connection: another one would not help
                raise UpdateError("flash_failed", repr(e))
            self.n += 1
            if self.n % _SAVE_EVERY == 0:
                await self._save()
            if self._throttle_ms:
                await asyncio.sleep_ms(self._throttle_ms)
        if reply.length is None and await reply.readinto(self.buf):
            raise UpdateError("size_mismatch", "more than %d" % self.size)
        self._progress(self.size, self.size)

    async def _save(self):
        await self.place.save({"of": self._name, "n": self.n, "size": self.size, "head": self.writer.head.hex()})
        self._progress(self.n * BLOCK, self.size)
        if not self._go():
            raise Paused()
