"""An image to install without a network: the running image with another version string.

Used by checks; contains no check itself.
"""

import json
import struct
from hashlib import sha256

_VERSION_AT, _VERSION_BYTES = 48, 32  # in the application description; inside the first segment


class Image:
    """The image in `partition` with its version string replaced by `version`, and checksum and SHA-256 recomputed.

    `size` is in bytes, `sha256` in hex.
    """

    def __init__(self, partition, version):
        self.partition = partition
        self.patches = []  # (offset, bytes)
        end, hashed = self._walk()
        text = version.encode() + bytes(_VERSION_BYTES - len(version))
        was = bytearray(_VERSION_BYTES + 1)
        self.read(_VERSION_AT, memoryview(was)[:_VERSION_BYTES])
        self.read(end - 1, memoryview(was)[_VERSION_BYTES:])
        checksum = was[_VERSION_BYTES]
        for i in range(_VERSION_BYTES):
            checksum ^= was[i] ^ text[i]
        self.patches = [(_VERSION_AT, text), (end - 1, bytes([checksum]))]
        own, whole = sha256(), sha256()
        buf = memoryview(bytearray(4096))
        for at in range(0, end, 4096):
            piece = buf[: min(4096, end - at)]
            self.read(at, piece)
            own.update(piece)
            whole.update(piece)
        self.size = end
        if hashed:
            digest = own.digest()
            self.patches.append((end, digest))
            whole.update(digest)
            self.size += 32
        self.sha256 = "".join("%02x" % b for b in whole.digest())

    def _walk(self):
        """(end of padding and checksum, whether a SHA-256 follows)"""
        head = bytearray(24)
        self.partition.readblocks(0, head, 0)
        at, segment = 24, bytearray(8)
        for _ in range(head[1]):
            self.partition.readblocks(at // 4096, segment, at % 4096)
            at += 8 + struct.unpack("<II", segment)[1]
        return (at | 15) + 1, head[23] & 1

    def read(self, at, buf):
        """Fill the memoryview `buf` from offset `at`."""
        self.partition.readblocks(at // 4096, buf, at % 4096)
        for where, raw in self.patches:
            first, last = max(at, where), min(at + len(buf), where + len(raw))
            if first < last:
                buf[first - at : last - at] = raw[first - where : last - where]


class Client:
    """Replaces http.Client: answers a check-in with `offered`, and a report with nothing.

    Gets the image from `image`, or if that is None through `other`, a Client.
    """

    def __init__(self, offered, image, other):
        self.offered = offered
        self.image = image
        self.other = other

    async def request(self, method, url, headers=None, body=None):
        if method == "POST":
            return _Reply(_Text(json.dumps(self.offered if url.endswith("/update") else {}).encode()))
        if self.image is None:
            return await self.other.request(method, url, headers, body)
        return _Reply(self.image)

    def close(self):
        pass


class _Text:
    def __init__(self, raw):
        self.raw = raw
        self.size = len(raw)

    def read(self, at, buf):
        buf[:] = self.raw[at : at + len(buf)]


class _Reply:
    """A reply whose body is `source`: its size, and read(at, buf)."""

    status = 200
    headers = {}

    def __init__(self, source):
        self.source = source
        self.length = source.size
        self.at = 0

    def ready(self, buf):
        return False

    async def readinto(self, buf):
        piece = buf[: min(len(buf), self.length - self.at)]
        if piece:
            self.source.read(self.at, piece)
            self.at += len(piece)
        return len(piece)

    async def close(self):
        pass
