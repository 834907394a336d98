"""The only module that touches sockets: connections that never block and never wait longer than they may.

OSError for everything that the world does, with the port's own error numbers; ENOBUFS and ENFILE (too many sockets
half closed) are passed on as they are: whoever asked waits 20 s or more.
"""

import socket
from asyncio import core, create_task
from errno import EAGAIN, ECONNRESET, EINPROGRESS, ETIMEDOUT
from time import ticks_add, ticks_diff, ticks_ms

from .deadline import watch

_PIECE = 128  # most lines are shorter: what one readline of the socket may allocate
_DATAGRAM_BYTES = 1232  # a DNS reply is not to be longer than 512, some are


class Connection:
    """A connected socket with a limit. One task at a time uses it.

    `begin()` gives what follows `limit_ms`; a wait beyond it raises OSError ETIMEDOUT and leaves a connection that can
    only be closed. One task watches over all waits, so a wait costs no task and no timer of its own.
    """

    def __init__(self, s, limit_ms):
        self.s = self._raw = s  # after a handshake that fails, closing the one leaves the other open
        self.limit_ms = limit_ms
        self.task = None  # the one that waits
        self.late = False
        self.begin()
        self._watching = create_task(watch(self))

    def begin(self):
        self.until_ms = ticks_add(ticks_ms(), self.limit_ms)

    def wait(self, to_write):  # async
        """Until the socket can be read or written, the deadline passes, or the task is cancelled by someone else."""
        self.task = core.cur_task
        queue = core._io_queue
        (queue.queue_write if to_write else queue.queue_read)(self.s)
        try:
            yield
        finally:
            self.task = None
        if self.late:
            raise OSError(ETIMEDOUT, "nothing in %d ms" % self.limit_ms)

    def write(self, data):  # async
        data = memoryview(data)
        while data:
            n = self.s.write(data)
            data = data[n or 0 :]
            if data:
                yield from self.wait(True)

    def fill(self, buf, n):  # async
        """Go on where a first read brought `n` (None: nothing yet) into `buf`; the count is short only at the end."""
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
        """Up to and with the next line feed, or `most` bytes without one; OSError when the connection ends first."""
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
                raise OSError(ECONNRESET, "closed in the head")
        return line

    def secure(self, context, host):
        """TLS over it from now on; the handshake comes with the first write and checks that the peer is `host`."""
        self.s = context.wrap_socket(self.s, server_hostname=host, do_handshake_on_connect=False)
        self.s.setblocking(False)

    def is_idle(self):
        """Still open, and nothing has come that nobody asked for?"""
        try:
            return self.s.read(1) is None
        except OSError:
            return False

    def close(self):
        self._watching.cancel()
        self.s.close()
        self._raw.close()


def _open(address, port, kind):
    # For a literal address getaddrinfo asks nobody; it makes the port's own form of an address.
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
    """A Connection over TCP: it is there when it can be written to. On some ports a refusal shows only in the first write or read."""
    return Connection(_open(address, port, socket.SOCK_STREAM), limit_ms)


async def ask(address, port, data, accept, limit_ms):
    """Send one datagram and return what `accept(reply)` makes of the first that it does not answer with None.

    The socket is connected: datagrams of other addresses and ports never come through.
    """
    connection = Connection(_open(address, port, socket.SOCK_DGRAM), limit_ms)
    try:
        connection.s.write(data)
        while True:
            await connection.wait(False)
            try:
                # One datagram; readinto would put several of them one behind the other.
                found = accept(connection.s.recv(_DATAGRAM_BYTES))
            except OSError as e:
                if e.errno != EAGAIN:  # woken for nothing
                    raise
                continue
            if found is not None:
                return found
    finally:
        connection.close()
