"""Download an image from a URL into a slot: one buffer, 4 KiB at a time, resumed where it was interrupted.

The transport (http.py, blocking.py) and the slot are passed in. OSError: the connection failed; this module retries a
few times, the agent retries later. UpdateError: the file or the store is refused. A download writes no block twice, so
it erases each block of the slot at most once; costs.py decides when another download may start.
"""

import asyncio
from hashlib import sha256
from struct import calcsize, pack, unpack

from .bounds import ENVELOPE_BYTES, check_size
from .errors import Paused, UpdateError
from .log import log
from .slot import BLOCK, ImageVerifier

RETRIES = 6  # consecutive connections without progress
_KEEP_EVERY = 8  # blocks; after a power cut, at most 32 KiB are fetched again
_PROGRESS = "<8sII16s"  # SHA-256 of the name (first 8 bytes), blocks, size, head of the image


class Download:
    """The download of one image into `slot`.

    `update` is the record's update. `examine(block)` is called with the first block before the first erase. It sets
    `skip` (bytes in front of the image), `image` (expected SHA-256 of the slot's content) and `by` (the signing key, if
    any) in `update`, and returns the manifest or None. `board` stores the progress under `name`. Every 32 KiB,
    `progress(done, size)` and `go()` are called; `go()` returns whether to continue.
    """

    def __init__(self, client, update, slot, board, name, throttle_ms, examine, go, progress):
        self.client = client
        self.update = update
        self._examine = examine
        self.slot = slot
        self.board = board
        self._name = sha256(name.encode()).digest()[:8]
        self._throttle_ms = throttle_ms
        self._go = go
        self._progress = progress
        self.buf = None  # allocated only while in use: a handshake needs the memory
        self.n = 0  # next block
        self.size = update["size"]
        self._etag = None
        self._ranges = True  # until the store returns something other than the requested range
        self.verifier = None

    async def run(self):
        """Fetch, write and verify; returns the ImageVerifier, whose `head` is not in the slot yet.

        May take hours with `throttle`.
        """
        await self._resume()
        failures = 0
        while True:
            before = self.n
            try:
                await self._connection()
                break
            except OSError as e:
                failures = 1 if self.n > before else failures + 1
                log("warn", "connection lost at block %d: %r" % (self.n, e))
                if failures > RETRIES:
                    if self.n:
                        self._keep()
                    raise
                await asyncio.sleep_ms(self.board.spread_ms(1000 << failures))
        found = self.verifier.digest()
        if found != self.update["image" if self.update.get("by") else "checksum"]:
            raise UpdateError("checksum_mismatch", found)
        return self.verifier

    def _begin(self, size):
        self.size = size
        self.verifier = ImageVerifier(self.slot, size, self.board.chip, self.board.raw, self.board.revision())
        self.n = 0

    async def _resume(self):
        """After a reset, hash the part of this update that is already in the slot."""
        raw = self.board.kept("progress")
        # Resume only in these two cases: otherwise the hash may start with an envelope, which is not in the slot.
        known = self.update.get("by") or self.update.get("skip") == 0
        if not known or len(raw) != calcsize(_PROGRESS):
            return
        name, n, size, head = unpack(_PROGRESS, raw)
        if name == self._name and n * BLOCK < size:
            self._begin(size)
            try:
                await self.verifier.reread(n, head, memoryview(bytearray(BLOCK)))
                self.n = n
                log("info", "download resumed at block %d" % n)
            except (UpdateError, OSError) as e:
                log("warn", "not resumed: %r" % e)
                self._begin(size)

    async def _connection(self):
        """Fetch as much as one connection delivers; returns when the image is complete."""
        headers = {}
        if self.n and self._ranges:
            headers["Range"] = "bytes=%d-" % (self.update["skip"] + self.n * BLOCK)
            if self._etag:
                headers["If-Range"] = self._etag
        self.buf = None
        reply = await self.client.request("GET", self.update["url"], headers)
        try:
            self.buf = memoryview(bytearray(BLOCK))
            if self._accept(reply):
                await self._compare(reply)
            await self._blocks(reply)
        finally:
            await reply.close()

    def _accept(self, reply):
        """Check status and lengths.

        True: the whole file is sent again, although the slot already contains a part of it.
        """
        if self.n and reply.status in (206, 416):
            from .ranges import content_range

            at = self.update["skip"]
            size = at + self.size
            at += self.n * BLOCK
            said = reply.headers.get("content-range", "")
            first, last, total = content_range(said) or (None, 0, 0)
            # The range may be shorter than requested, and may omit the length of the file (RFC 9110, 14.4).
            if reply.status == 416 or first != at or last >= size or total not in (None, size):
                self._ranges = False
                raise OSError("Content-Range " + said)
            return False
        if reply.status != 200:
            raise UpdateError("http_status", reply.status)
        announced = self.update["size"]
        size = announced if reply.length is None else reply.length
        if size is None or announced not in (None, size) or self.n and size != self.update["skip"] + self.size:
            raise UpdateError("size_mismatch", "%s, announced %s" % (size, announced))
        self._etag = reply.headers.get("etag")
        if self.n:
            return True
        check_size(size, self.slot.size + ENVELOPE_BYTES)
        self.update["skip"] = None  # not known yet
        self._begin(size)
        return False

    async def _compare(self, reply):
        """If the store ignores ranges, skip the blocks that are already in the slot: no block is erased twice.

        UpdateError if the file differs from them.
        """
        for n in range(-(self.update["skip"] // BLOCK), self.n):
            if await reply.readinto(self.buf) != BLOCK:
                raise UpdateError("size_mismatch", "ends in block %d" % n)
            if n >= 0 and not self.verifier.matches(n, self.buf):
                raise UpdateError("checksum_mismatch", "differs from block %d on" % n)
            await asyncio.sleep_ms(0)

    async def _blocks(self, reply):
        while self.n * BLOCK < self.size:
            left = self.size - self.n * BLOCK
            block = self.buf if left >= BLOCK else self.buf[:left]
            if not reply.ready(block) and await reply.readinto(block) != len(block):
                if reply.status == 206:
                    raise OSError("range too short")
                raise UpdateError("size_mismatch", "ends before %d" % self.size)
            if self.update["skip"] is None:
                said = await self._examine(block)
                if said:  # the first block was an envelope
                    self._begin(self.size - ENVELOPE_BYTES)
                    if not self.update.get("by"):  # only the cloud's checksum exists, and it covers the whole file
                        self.verifier.sha.update(block)
                    if self.size != said["size"]:
                        raise UpdateError("manifest_mismatch", "size %d, is %d" % (said["size"], self.size))
                    continue
            self.verifier.check_block(self.n, block)
            try:
                self.slot.erase(self.n)
                await asyncio.sleep_ms(0)  # one erase per turn of the loop
                self.slot.write(self.n, block, 0)
                self.verifier.read_back(self.n, block)
            except OSError as e:  # a flash error: another connection would not help
                raise UpdateError("flash_failed", repr(e))
            self.n += 1
            if self.n % _KEEP_EVERY == 0:
                await asyncio.sleep_ms(0)
                self._keep()
                self._progress(self.n * BLOCK, self.size)
                if not self._go():
                    raise Paused()
            await asyncio.sleep_ms(self._throttle_ms)
        if reply.length is None and await reply.readinto(self.buf):
            raise UpdateError("size_mismatch", "more than %d" % self.size)
        self._progress(self.size, self.size)

    def _keep(self):
        try:
            self.board.keep("progress", pack(_PROGRESS, self._name, self.n, self.size, self.verifier.head))
        except OSError as e:  # the download continues: the progress is needed only after a reset
            log("warn", "progress: %r" % e)
