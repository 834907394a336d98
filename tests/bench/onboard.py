"""Measures a download into a file that acts as the slot, on the unix port; arguments: MODE PORT BLOCKS FILE.

Mode `agent` runs the agent's Download; `alloc` does so without garbage collection; `heap` also records the heap in
use at two blocks; `compressed` and `delta` fetch a packed file, whose base is in FILE.base; `stream` and `socket` are
bare loops for comparison; `load` only imports the agent. `-tls` after a mode: over TLS.
"""

import asyncio
import gc
import sys
from hashlib import sha256

mode, port, blocks, path = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
mode, _, secure = mode.partition("-")
BLOCK = 4096
BLANK = b"\xff" * BLOCK
is_packed = mode in ("compressed", "delta")


def context():
    """A TLS context without verification: the handshake is not measured."""
    if not secure:
        return None
    import tls

    made = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    made.verify_mode = tls.CERT_NONE
    return made


class Slot:
    """The flash for all modes: erase() fills a block with ones; each call of write() and read() is one operation."""

    label = "ota_1"
    size = 0x1A0000

    def __init__(self):
        self.f = open(path, "w+b")
        self.ops = [0, 0, 0]
        self.seen = {4: 0, 400: 0}

    def erase(self, n):
        self.ops[0] += 1
        self.f.seek(n * BLOCK)
        self.f.write(BLANK)
        if n in (4, 400) and mode == "heap":
            gc.collect()
            self.seen[n] = gc.mem_alloc()

    def write(self, n, buf, offset=0):
        self.ops[1] += 1
        self.f.seek(n * BLOCK + offset)
        self.f.write(buf)

    def read(self, n, buf, offset=0):
        self.ops[2] += 1
        self.f.seek(n * BLOCK + offset)
        self.f.readinto(buf)


class Base:
    """The running slot."""

    def __init__(self):
        self.f = open(path + ".base", "rb")

    def info(self):
        return (0, 0, 0, self.f.seek(0, 2))

    def readblocks(self, n, buf, offset):
        self.f.seek(n * BLOCK + offset)
        self.f.readinto(buf)


class Board:
    chip = 0
    raw = is_packed  # a part of a real image has no valid segments
    here = Base() if is_packed else None

    def revision(self):
        return None

    def kept(self, key):
        """Return no stored progress of a download: the NVS is not measured."""
        return b""

    def keep(self, key, raw):
        pass

    def spread_ms(self, most):
        return most


slot = Slot()


async def agent():
    from ioto.connect import Client, Resolver
    from ioto.fetch import Download

    update = {
        "update": "u",
        "version": "1.0.1",
        "url": "http%s://127.0.0.1:%d/%s/%d" % ("s" if secure else "", port, mode, blocks),
        "checksum": "",
        "size": None,
    }

    async def examine(block):
        update.update(skip=0, image="")

    download = Download(
        Client(Resolver(), context(), plain=True),
        update,
        slot,
        Board(),
        "bench",
        0,
        examine,
        lambda: True,
        lambda done, size: None,
    )
    gc.collect()
    if mode == "alloc":
        gc.disable()
    before = gc.mem_alloc()
    try:
        await download.run()
    except Exception as e:
        if "checksum_mismatch" not in str(e):
            raise
    return gc.mem_alloc() - before


async def head():
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /raw/%d HTTP/1.0\r\n\r\n" % blocks)
    await writer.drain()
    while await reader.readline() != b"\r\n":
        pass
    return reader


async def stream():
    reader = await head()
    buf = memoryview(bytearray(BLOCK))
    sha = sha256()
    for n in range(blocks):
        have = 0
        while have < BLOCK:
            have += await reader.readinto(buf[have:] if have else buf)
        sha.update(buf)
        slot.erase(n)
        slot.write(n, buf)
    return 0


async def socket():
    import socket

    s = socket.socket()
    s.connect(socket.getaddrinfo("127.0.0.1", port)[0][-1])
    if secure:
        s = context().wrap_socket(s)
    s.write(b"GET /raw/%d HTTP/1.0\r\n\r\n" % blocks)
    while s.readline() != b"\r\n":
        pass
    buf = memoryview(bytearray(BLOCK))
    sha = sha256()
    for n in range(blocks):
        have = 0
        while have < BLOCK:
            have += s.readinto(buf[have:] if have else buf)
        sha.update(buf)
        slot.erase(n)
        slot.write(n, buf)
    return 0


async def load():
    gc.collect()
    before = gc.mem_alloc()
    import ioto.start  # noqa: F401 - what is measured

    gc.collect()
    return gc.mem_alloc() - before


used = asyncio.run({"stream": stream, "socket": socket, "load": load}.get(mode, agent)())
print(used, slot.ops[0], slot.ops[1], slot.ops[2], slot.seen.get(4, 0), slot.seen.get(400, 0))
