"""Download an image from a URL into a slot: one buffer, 4 KiB at a time, resumed where it was interrupted.

A packed file (docs/formats.md) makes the same blocks from fewer bytes; unpack.py is loaded only for one.

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
_PACKED = "<II"  # then, of a packed file: the current group's first block and offset, and the header
_HEADER_BYTES = 88  # of a packed file
_MAGIC = b"IOTO-PAK"


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
        self._total = None  # bytes of the file
        self._packed = None  # the header of a packed file
        self._group = 0, 0  # of a packed file: its first block, and its offset after the header
        self._unpacker = None
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
        plain = calcsize(_PROGRESS)
        if not known or len(raw) not in (plain, plain + 8 + _HEADER_BYTES):
            return
        name, n, size, head = unpack(_PROGRESS, raw[:plain])
        if name == self._name and n * BLOCK < size:
            if len(raw) > plain:
                self._group = unpack(_PACKED, raw[plain : plain + 8])
                self._packed = bytes(raw[plain + 8 :])
            self._begin(size)
            self._total = self._start() + size
            if self._packed:
                self._total = self._start() + int.from_bytes(self._packed[20:24], "big")
            if self.update["size"] not in (None, self._total):  # another file of the same release
                self._packed = None
                return
            try:
                await self.verifier.reread(n, head, memoryview(bytearray(BLOCK)))
                self.n = n
                log("info", "download resumed at block %d" % n)
            except (UpdateError, OSError) as e:
                log("warn", "not resumed: %r" % e)
                self._packed = None
                self._begin(size)

    def _start(self):
        """Offset in the file of the first byte after the headers."""
        return self.update["skip"] + (_HEADER_BYTES if self._packed else 0)

    def _at(self):
        """Offset in the file at which a download can resume."""
        return self._start() + (self._group[1] if self._packed else self.n * BLOCK)

    async def _connection(self):
        """Fetch as much as one connection delivers; returns when the image is complete."""
        headers = {}
        if self.n and self._ranges:
            headers["Range"] = "bytes=%d-" % self._at()
            if self._etag:
                headers["If-Range"] = self._etag
        self.buf = self._unpacker = None
        reply = await self.client.request("GET", self.update["url"], headers)
        try:
            self.buf = memoryview(bytearray(BLOCK))
            is_whole = self._accept(reply)
            if self.n and self._packed:
                await self._unpack()
            if is_whole:
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

            at = self._at()
            size = self._total
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
        if size is None or announced not in (None, size) or self.n and size != self._total:
            raise UpdateError("size_mismatch", "%s, announced %s" % (size, announced))
        self._etag = reply.headers.get("etag")
        if self.n:
            return True
        check_size(size, self.slot.size + ENVELOPE_BYTES)
        self.update["skip"] = None  # not known yet
        self._packed = None
        self._total = size
        self._begin(size)
        return False

    async def _compare(self, reply):
        """If the store ignores ranges, skip the blocks that are already in the slot: no block is erased twice.

        UpdateError if the file differs from them.
        """
        if self._packed:  # its blocks are compared when they are made again
            left = self._at()
            while left:
                piece = self.buf[: min(BLOCK, left)]
                await self._read(reply, piece)
                left -= len(piece)
            return
        for n in range(-(self.update["skip"] // BLOCK), self.n):
            if await reply.readinto(self.buf) != BLOCK:
                raise UpdateError("size_mismatch", "ends in block %d" % n)
            if n >= 0 and not self.verifier.matches(n, self.buf):
                raise UpdateError("checksum_mismatch", "differs from block %d on" % n)
            await asyncio.sleep_ms(0)

    async def _read(self, reply, view):
        if not reply.ready(view) and await reply.readinto(view) != len(view):
            if reply.status == 206:
                raise OSError("range too short")
            raise UpdateError("size_mismatch", "ends before %d" % self._total)

    async def _unpack(self):
        """Load the decoder; UpdateError if the packed file or its base is refused."""
        from .packed import parse
        from .unpack import Unpacker, check_base

        header = parse(self._packed)
        for _ in check_base(header, self.board.read_base, self.board.base_bytes, self.buf):
            await asyncio.sleep_ms(0)
        self._unpacker = Unpacker(header, self.board.read_base, *self._group)

    async def _blocks(self, reply):
        said = None
        while self.n * BLOCK < self.size:
            left = self.size - self.n * BLOCK
            block = self.buf if left >= BLOCK else self.buf[:left]
            if self._unpacker:
                n = self._unpacker.n
                block = self.buf[: min(BLOCK, self.size - n * BLOCK)]
                for view in self._unpacker.block(block):
                    await self._read(reply, view)
                await asyncio.sleep_ms(0)  # between the decoder and an erase
                if n < self.n:  # made again, because its group starts before the block at which the download resumes
                    if not self.verifier.matches(n, block):
                        raise UpdateError("checksum_mismatch", "differs from block %d on" % n)
                    continue
            elif self.n:
                await self._read(reply, block)
            else:
                said, is_new = await self._first(reply, block, said)
                if is_new:
                    continue
            await self._store(block)
            if self.n % _KEEP_EVERY == 0:
                await asyncio.sleep_ms(0)
                self._keep()
                self._progress(self.n * BLOCK, self.size)
                if not self._go():
                    raise Paused()
            await asyncio.sleep_ms(self._throttle_ms)
        if reply.length is None and await reply.readinto(self.buf):
            raise UpdateError("size_mismatch", "more than %d" % self._total)
        self._progress(self.size, self.size)

    async def _first(self, reply, block, said):
        """Read the first block of the file or of the image: (the manifest, was it a header?)."""
        head = block[:_HEADER_BYTES]
        await self._read(reply, head)
        is_packed = bytes(head[:8]) == _MAGIC
        if not is_packed:
            await self._read(reply, block[_HEADER_BYTES:])
        if self.update["skip"] is None:
            said = await self._examine(head if is_packed else block)
            if said:  # an envelope
                self._begin(self.size - ENVELOPE_BYTES)
                if not self.update.get("by"):  # only the cloud's checksum exists, and it covers the whole file
                    self.verifier.sha.update(block)
                return said, True
        size = int.from_bytes(head[12:16], "big") if is_packed else self.size
        if said and (size != said["size"] or is_packed and head[24:56] != bytes.fromhex(said["sha256"])):
            raise UpdateError("manifest_mismatch", "size %d, is %d" % (said["size"], size))
        if not is_packed:
            return said, False
        self._packed = bytes(head)
        self._group = 0, 0
        await self._unpack()
        if self._start() + int.from_bytes(self._packed[20:24], "big") != self._total:
            raise UpdateError("size_mismatch", "%d bytes in a packed file" % self._total)
        sha = self.verifier.sha
        self._begin(size)
        self.verifier.sha = sha
        return said, True

    async def _store(self, block):
        """Check block `n` of the image, write it to the slot, and hash what is read back."""
        self.verifier.check_block(self.n, block)
        try:
            self.slot.erase(self.n)
            await asyncio.sleep_ms(0)  # one erase per turn of the loop
            self.slot.write(self.n, block, 0)
            self.verifier.read_back(self.n, block)
        except OSError as e:  # a flash error: another connection would not help
            raise UpdateError("flash_failed", repr(e))
        self.n += 1
        if self._unpacker:
            self._group = self._unpacker.group

    def _keep(self):
        try:
            raw = pack(_PROGRESS, self._name, self.n, self.size, self.verifier.head)
            if self._packed:
                raw += pack(_PACKED, *self._group) + self._packed
            self.board.keep("progress", raw)
        except OSError as e:  # the download continues: the progress is needed only after a reset
            log("warn", "progress: %r" % e)
