"""Non-blocking connections with a time limit on every wait. The only module that uses sockets.

All network failures raise OSError with the port's own error numbers. ENOBUFS and ENFILE (too many half-closed sockets)
are passed on unchanged: the caller waits 20 s or more before it tries again.
"""

import socket
from asyncio import core, create_task
from errno import EAGAIN, ECONNRESET, EINPROGRESS, ETIMEDOUT
from time import ticks_add, ticks_ms

from .deadline import watch

_PIECE = 128  # bytes that one readline of the socket may allocate; most lines are shorter
_DATAGRAM_BYTES = 1232  # DNS replies are limited to 512 bytes, but some are longer


class Connection:
    """A connected socket with a time limit. Only one task at a time may use it.

    `begin()` starts a new limit of `limit_ms`. A wait beyond it raises OSError ETIMEDOUT; afterwards the connection can
    only be closed. One task watches all waits of the connection, so a wait needs no task or timer of its own.
    """

    def __init__(self, s, limit_ms):
        self.s = self._raw = s  # after a failed handshake, closing the TLS socket leaves the raw socket open
        self.limit_ms = limit_ms
        self.task = None  # the waiting task
        self.late = False
        self.begin()
        self._watching = create_task(watch(self))

    def begin(self):
        self.until_ms = ticks_add(ticks_ms(), self.limit_ms)

    def wait(self, to_write):  # async
        """Wait until the socket is readable or writable.

        OSError ETIMEDOUT at the deadline; the task may also be cancelled.
        """
        self.task = core.cur_task
        queue = core._io_queue
        (queue.queue_write if to_write else queue.queue_read)(self.s)
        try:
            yield
        finally:
            self.task = None
        if self.late:
            raise OSError(ETIMEDOUT, "timeout after %d ms" % self.limit_ms)

    def write(self, data):  # async
        data = memoryview(data)
        while data:
            n = self.s.write(data)
            data = data[n or 0 :]
            if data:
                yield from self.wait(True)

    def fill(self, buf, n):  # async
        """Fill `buf` after a first read of `n` bytes (None: no data yet) into it.

        Returns the count, which is less than the length of `buf` only at the end of the stream.
        """
        have = 0
        while n != 0:
            if n:
                have += n
                if have == len(buf):
                    break
            yield from self.wait(False)
            n = self.s.readinto(buf[have:] if have else buf)
        return have

    def readline(self, most):  # async
        """Read up to and including the next line feed, or `most` bytes without one.

        OSError if the connection ends first.
        """
        line = b""
        while len(line) < most:
            piece = self.s.readline(min(_PIECE, most - len(line)))
            if piece is None:
                yield from self.wait(False)
            elif piece:
                line += piece
                if line[-1] == 10:
                    break
            else:
                raise OSError(ECONNRESET, "incomplete head")
        return line

    def secure(self, context, host):
        """Switch to TLS. The handshake happens at the first write and verifies that the peer is `host`."""
        self.s = context.wrap_socket(self.s, server_hostname=host, do_handshake_on_connect=False)
        self.s.setblocking(False)

    def is_idle(self):
        """Is the connection still open, without unexpected data?"""
        try:
            return self.s.read(1) is None
        except OSError:
            return False

    def close(self):
        self._watching.cancel()
        self.s.close()
        self._raw.close()


def _open(address, port, kind):
    # For a literal address, getaddrinfo makes no look-up, but only converts the address to the port's own form.
    found = socket.getaddrinfo(address, port, 0, kind)[0]
    s = socket.socket(found[0], kind)
    try:
        s.setblocking(False)
        s.connect(found[-1])
    except OSError as e:
        if e.errno != EINPROGRESS:
            s.close()
            raise
    return s


def connect(address, port, limit_ms):
    """Start a TCP connection and return the Connection; it is established once it is writable.

    On some ports, only the first write or read reports a refused connection.
    """
    return Connection(_open(address, port, socket.SOCK_STREAM), limit_ms)


async def ask(address, port, data, accept, limit_ms):
    """Send one datagram, pass each reply to `accept(reply)`, and return its first result that is not None.

    The socket is connected, so it never receives datagrams from other addresses or ports.
    """
    connection = Connection(_open(address, port, socket.SOCK_DGRAM), limit_ms)
    try:
        connection.s.write(data)
        while True:
            await connection.wait(False)
            try:
                # recv reads one datagram; readinto would concatenate several.
                found = accept(connection.s.recv(_DATAGRAM_BYTES))
            except OSError as e:
                if e.errno != EAGAIN:  # EAGAIN: woken without data
                    raise
                continue
            if found is not None:
                return found
    finally:
        connection.close()
