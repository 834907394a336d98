"""Read a chunked body (RFC 9112, 7.1), which few servers send."""

import asyncio
from errno import ECONNRESET

from .http_parse import HEX, malformed

_CHUNK_LINE_BYTES = 256


def readinto(response, buf, read_headers):  # async
    """Response.readinto() for a chunked body; `read_headers` is http.read_headers(), for the trailers."""
    connection = response.connection
    connection.begin()
    have = 0
    while response.chunked and have < len(buf):
        if not response.left:
            yield from asyncio.sleep_ms(0)  # a server that sends one-byte chunks must not block the other tasks
            yield from _next_chunk(response, connection, read_headers)
            continue
        piece = buf[have : have + response.left]
        n = yield from connection.fill(piece, connection.s.readinto(piece))
        have += n
        response.left -= n
        if n < len(piece):
            raise OSError(ECONNRESET, "%d bytes are missing" % response.left)
    return have


def _next_chunk(response, connection, read_headers):
    if response.begun:
        line = yield from connection.readline(2)
        if line != b"\r\n":
            raise malformed(line)
    response.begun = True
    response.left = chunk_size((yield from connection.readline(_CHUNK_LINE_BYTES)))
    if not response.left:
        yield from read_headers(connection, {})  # trailers
        response.chunked = False


def chunk_size(line):
    """Parse the size line of a chunk and return the size in bytes; extensions are skipped."""
    digits = line.partition(b";")[0].strip().lower()
    if not 0 < len(digits) <= 8 or digits.strip(HEX.encode()) or line[-1] != 10:
        raise malformed(line)
    return int(digits, 16)
