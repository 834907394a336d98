"""Download an image from a URL into a slot: one buffer, 4 KiB at a time, resumed where it was interrupted.

packed_file.py, which is loaded only for a packed file, makes the same blocks from fewer bytes.

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
_PACKED_BYTES = 96  # then PackedFile.kept(), of a packed file
_HEADER_BYTES = 88  # of a packed file


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
        self.size = update["size"]  # of the image; of the file before the image begins
        self.end = None  # bytes of the file
        self._packed = None  # packed_file.PackedFile
        self._said = None  # the manifest
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
                        self.keep()
                    raise
                await asyncio.sleep_ms(self.board.spread_ms(1000 << failures))
        found = self.verifier.digest()
        if found != self.update["image" if self.update.get("by") else "checksum"]:
            raise UpdateError("checksum_mismatch", found)
        return self.verifier

    def begin(self, size):
        """The image has `size` bytes, and starts here."""
        self.size = size
        self.verifier = ImageVerifier(self.slot, size, self.board.chip, self.board.raw, self.board.revision())
        self.n = 0

    async def _resume(self):
        """After a reset, hash the part of this update that is already in the slot."""
        raw = self.board.kept("progress")
        # Resume only in these two cases: otherwise the hash may start with an envelope, which is not in the slot.
        known = self.update.get("by") or self.update.get("skip") == 0
        plain = calcsize(_PROGRESS)
        if not known or len(raw) not in (plain, plain + _PACKED_BYTES):
            return
        name, n, size, head = unpack(_PROGRESS, raw[:plain])
        if name == self._name and n * BLOCK < size:
            self.begin(size)
            try:
                self.end = self.update["skip"] + size
                if len(raw) > plain:
                    from .packed_file import kept

                    self._packed = kept(self, raw[plain:])
                if self.update["size"] not in (None, self.end):  # another file of the same release
                    raise UpdateError("size_mismatch", self.end)
                await self.verifier.reread(n, head, memoryview(bytearray(BLOCK)))
                self.n = n
                log("info", "download resumed at block %d" % n)
            except (UpdateError, OSError) as e:
                log("warn", "not resumed: %r" % e)
                self._packed = None
                self.begin(size)

    async def _connection(self):
        """Fetch as much as one connection delivers; returns when the image is complete."""
        headers = {}
        at = 0
        if self.n:
            at = self._packed.at() if self._packed else self.update["skip"] + self.n * BLOCK
            if self._ranges:
                headers["Range"] = "bytes=%d-" % at
                if self._etag:
                    headers["If-Range"] = self._etag
        self.buf = None
        reply = await self.client.request("GET", self.update["url"], headers)
        try:
            self.buf = memoryview(bytearray(BLOCK))
            is_whole = self._accept(reply, at)
            if self._packed:
                await self._packed.start(reply, is_whole)
            elif is_whole:
                await self._compare(reply)
            await self._blocks(reply)
        finally:
            await reply.close()

    def _accept(self, reply, at):
        """Check status and lengths of the reply to a request from byte `at` on.

        True: the whole file is sent again, although the slot already contains a part of it.
        """
        if self.n and reply.status in (206, 416):
            from .ranges import content_range

            size = self.end
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
        if size is None or announced not in (None, size) or self.n and size != self.end:
            raise UpdateError("size_mismatch", "%s, announced %s" % (size, announced))
        self._etag = reply.headers.get("etag")
        if self.n:
            return True
        check_size(size, self.slot.size + ENVELOPE_BYTES)
        self.update["skip"] = None  # not known yet
        self._packed = None
        self.end = size
        self.begin(size)
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

    async def read(self, reply, view):
        """Fill `view` with the next bytes of the file."""
        if not reply.ready(view):
            await self._wait(reply, view)

    async def _wait(self, reply, view):
        """read(), after ready() has returned False."""
        if await reply.readinto(view) != len(view):
            if reply.status == 206:
                raise OSError("range too short")
            raise UpdateError("size_mismatch", "ends before %d" % self.end)

    async def _blocks(self, reply):
        while self.n * BLOCK < self.size:
            left = self.size - self.n * BLOCK
            block = self.buf if left >= BLOCK else self.buf[:left]
            if self._packed:
                await self._packed.read(reply, block)
            elif self.n:
                if not reply.ready(block):  # read() and a coroutine for the rest would take 10 % more instructions
                    await self._wait(reply, block)
            elif not await self._first(reply, block):
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
                self.keep()
                self._progress(self.n * BLOCK, self.size)
                if not self._go():
                    raise Paused()
            await asyncio.sleep_ms(self._throttle_ms)
        if reply.length is None and await reply.readinto(self.buf):
            raise UpdateError("size_mismatch", "more than %d" % self.end)
        self._progress(self.size, self.size)

    async def _first(self, reply, block):
        """Read the first block of the file or of the image; False if it is a header, which is not for the slot."""
        head = block[:_HEADER_BYTES]
        await self.read(reply, head)
        is_packed = bytes(head[:8]) == b"IOTO-PAK"
        if not is_packed:
            await self.read(reply, block[_HEADER_BYTES:])
        if self.update["skip"] is None:
            self._said = await self._examine(head if is_packed else block)
            if self._said:  # an envelope
                self.begin(self.size - ENVELOPE_BYTES)
                if not self.size:
                    raise UpdateError("manifest_mismatch", "no image")
                if not self.update.get("by"):  # only the cloud's checksum exists, and it covers the whole file
                    self.verifier.sha.update(block)
                return False
        if is_packed:
            from .packed_file import begin

            self._packed = await begin(self, head, self._said)
        elif self._said and self.size != self._said["size"]:
            raise UpdateError("manifest_mismatch", "size %d, is %d" % (self._said["size"], self.size))
        return not is_packed

    def keep(self):
        """Store the progress, for a resume after a reset."""
        try:
            raw = pack(_PROGRESS, self._name, self.n, self.size, self.verifier.head)
            if self._packed:
                raw += self._packed.kept()
            self.board.keep("progress", raw)
        except OSError as e:  # the download continues: the progress is needed only after a reset
            log("warn", "progress: %r" % e)
