"""From a url into a slot: one buffer, 4 KiB at a time, taken up again where it was lost.

The transport (http.py, blocking.py) and the slot are handed in. OSError: the connection, tried again here a few times
and by the agent later; UpdateError: this file will not do.
"""

import asyncio

from .errors import UpdateError
from .http_parse import content_range
from .log import log
from .release import ENVELOPE_BYTES, unwrap
from .slot import BLOCK, Writer

RETRIES = 6  # connections in a row that bring nothing
_SAVE_EVERY = 8  # blocks: 32 KiB may be fetched twice after a power cut, of the 64 KiB allowed


class Paused(Exception):
    """The window closed in mid-download; what was fetched is kept."""


class Download:
    """One image on its way into `slot`.

    `update` is the record's. `examine(pair)` is asked, before the first erase, about what unwrap() found in front of the
    image: it enters `skip` (bytes in front) and `image` (SHA-256 that the slot is to hold) and returns the manifest or None.
    `place` (a record.Pair) keeps how far it got; `go()` says at each save whether to go on; `progress(done, size)`.
    """

    def __init__(self, client, update, slot, board, place, buf, throttle_ms, examine, go, progress):
        self.client = client
        self.update = update
        self.examine = examine
        self.slot = slot
        self.board = board
        self.place = place
        self.throttle_ms = throttle_ms
        self.go = go
        self.progress = progress
        self.buf = buf
        self.n = 0  # next block
        self.size = update["size"]
        self.etag = None
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
        if found != self.update["image"]:
            raise UpdateError("checksum_mismatch", "the slot holds %s" % found)
        return self.writer

    def _begin(self, size):
        self.size = size
        self.writer = Writer(self.slot, size, self.board.chip, self.board.raw)
        self.n = 0

    async def _take_up(self):
        """After a reset: hash again what the slot holds of this very update."""
        was = self.place.load()
        if self.update.get("skip") is None or not was or was["of"] != self._name() or not 0 < was["n"] * BLOCK < was["size"]:
            return
        self._begin(was["size"])
        try:
            await self.writer.reread(was["n"], bytes.fromhex(was["head"]), self.buf)
            self.n = was["n"]
            log("info", "download taken up at block %d" % self.n)
        except (UpdateError, OSError) as e:
            log("warn", "what the slot holds is no beginning: %r" % e)
            self._begin(was["size"])

    def _name(self):
        return "%s %s %s" % (self.slot.label, self.update["checksum"][:16], self.update["update"])

    async def _connection(self):
        """Everything that one connection brings; returns when the image is whole."""
        headers = {}
        if self.n:
            headers["Range"] = "bytes=%d-" % (self._skip() + self.n * BLOCK)
            if self.etag:
                headers["If-Range"] = self.etag
        reply = await self.client.request("GET", self.update["url"], headers)
        try:
            self._accept(reply)
            await self._blocks(reply)
        finally:
            await reply.close()

    def _accept(self, reply):
        """Status and lengths: does this reply go on where we are?"""
        size = reply.length
        if reply.status == 206 and self.n:
            first, last, size = content_range(reply.headers.get("content-range", "")) or (None, None, None)
            skip = self._skip()
            if first != skip + self.n * BLOCK or size != skip + self.size or last != size - 1:
                self._begin(self.size)  # a range we did not ask for: begin again
                raise OSError("Content-Range %s" % reply.headers.get("content-range"))
        elif reply.status == 416 and self.n:
            self._begin(self.size)
            raise OSError("range refused")
        elif reply.status != 200:
            raise UpdateError("http_status", "%d for the image" % reply.status)
        else:
            if size is None:
                size = self.update["size"]
            if size is None or size != (self.update["size"] or size):
                raise UpdateError("size_mismatch", "%s bytes, announced %s" % (size, self.update["size"]))
            self.update["skip"] = None  # not known yet
            self._begin(size)
        if self.size > self.slot.size + ENVELOPE_BYTES:
            raise UpdateError("size_too_large", "%d bytes, the slot has %d" % (self.size, self.slot.size))
        if not self.size:
            raise UpdateError("size_zero")
        self.etag = reply.headers.get("etag")

    def _skip(self):
        """Bytes of the file in front of the image."""
        return self.update.get("skip") or 0

    async def _unwrap(self, block):
        """The file's first bytes: the manifest, if they are an envelope and no part of the image."""
        said = await self.examine(unwrap(block))
        if said:
            self._begin(self.size - ENVELOPE_BYTES)
            if self.size != said["size"]:
                raise UpdateError("manifest_mismatch", "size %d, the file has %d" % (said["size"], self.size))
        return said

    async def _blocks(self, reply):
        while self.n * BLOCK < self.size:
            block = self.buf[: min(BLOCK, self.size - self.n * BLOCK)]
            if await reply.readinto(block) != len(block):
                raise UpdateError("size_mismatch", "ends in block %d, announced %d bytes" % (self.n, self.size))
            if self.update.get("skip") is None and await self._unwrap(block):
                continue
            try:
                await self.writer.write(self.n, block)
            except OSError as e:  # not the connection: another one would not help
                raise UpdateError("flash_failed", repr(e))
            self.n += 1
            if self.n % _SAVE_EVERY == 0:
                await self._save()
            if self.throttle_ms:
                await asyncio.sleep_ms(self.throttle_ms)
        if reply.length is None and await reply.readinto(self.buf):
            raise UpdateError("size_mismatch", "more than the %d bytes announced" % self.size)
        self.progress(self.size, self.size)

    async def _save(self):
        await self.place.save({"of": self._name(), "n": self.n, "size": self.size, "head": self.writer.head.hex()})
        self.progress(self.n * BLOCK, self.size)
        if not self.go():
            raise Paused()
