"""Peers that the board can connect to: an ASGI application in this process, a script, or a real server over a real
socket.
"""

import asyncio
import errno
import socket
import ssl
from email.utils import formatdate

import h11

from .memory import SMALL_CHAIN


class _Http:
    """Parses the requests of one connection; calls `answer(self)` for each complete request."""

    stays_open = False

    def __init__(self, air, sock, answer) -> None:
        self.air, self.sock, self.answer = air, sock, answer
        self.machine = h11.Connection(h11.SERVER)
        self.request, self.body = None, b""

    def feed(self, data) -> None:
        self.machine.receive_data(data)
        while True:
            try:
                event = self.machine.next_event()
            except h11.RemoteProtocolError:
                self.air.arrive(
                    self.sock, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
                self.air.arrive(self.sock, None)
                return
            if isinstance(event, h11.Request):
                self.request, self.body = event, b""
            elif isinstance(event, h11.Data):
                self.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self.answer(self)
            else:
                return

    def send(self, event) -> None:
        raw = self.machine.send(event)
        if raw:
            self.air.arrive(self.sock, bytes(raw))


class Asgi:
    """An ASGI application, called in this process; its response arrives by the board's clock. Like a real server, it
    sends a `Date` header.
    """

    def __init__(self, app, scheme: str = "http", date: bool = True) -> None:
        self.app, self.scheme, self.date = app, scheme, date

    def connection(self, air, sock):
        return _Http(air, sock, self._answer)

    def _answer(self, http) -> None:
        asyncio.run(self._call(http))
        if http.machine.our_state is h11.MUST_CLOSE:
            http.air.arrive(http.sock, None)
        elif http.machine.our_state is h11.DONE:
            http.machine.start_next_cycle()

    async def _call(self, http) -> None:
        request = http.request
        path, _, query = request.target.partition(b"?")
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": request.method.decode(),
            "scheme": self.scheme, "path": path.decode(), "raw_path": path, "query_string": query, "root_path": "",
            "headers": [(bytes(k).lower(), bytes(v)) for k, v in request.headers], "client": ("10.0.0.2", 40000),
            "server": http.sock.address,
        }  # fmt: skip
        told = False

        async def receive():
            nonlocal told
            if told:
                await asyncio.sleep(3600)
            told = True
            return {"type": "http.request", "body": http.body, "more_body": False}

        async def send(message) -> None:
            if message["type"] == "http.response.start":
                headers = [(k, v) for k, v in message["headers"]]
                if self.date:
                    headers.append((b"date", formatdate(http.air.now_s(), usegmt=True).encode()))
                http.send(h11.Response(status_code=message["status"], headers=headers))
            else:
                if message.get("body") and request.method != b"HEAD":
                    http.send(h11.Data(data=message["body"]))
                if not message.get("more_body"):
                    http.send(h11.EndOfMessage())

        await self.app(scope, receive, send)


class Script:
    """A scripted server: `answer(method, path, headers, body)` returns a list of steps: bytes to send, None to close,
    an int to fail with that errno, or (seconds, step) to delay a step. After the last step the peer is silent until the
    next request.
    """

    def __init__(self, answer) -> None:
        self.answer = answer

    def connection(self, air, sock):
        http = _Http(air, sock, self._answer)
        http.stays_open = True
        return http

    def _answer(self, http) -> None:
        headers = {bytes(k).decode().lower(): bytes(v).decode() for k, v in http.request.headers}
        method, path = http.request.method.decode(), http.request.target.decode()
        for step in self.answer(method, path, headers, http.body):
            after, step = step if isinstance(step, tuple) else (0, step)
            http.air.arrive(http.sock, step, after)
        http.machine = h11.Connection(h11.SERVER)  # for the next request


def reply(body: bytes = b"", status: int = 200, headers=()):
    """The bytes of a simple HTTP response with Content-Length, for Script."""
    lines = ["HTTP/1.1 %d x" % status, "Content-Length: %d" % len(body)] + ["%s: %s" % h for h in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class Tls:
    """TLS in front of another peer; `context` is a server's ssl.SSLContext, `chain` the memory for its certificates
    (memory.py).
    """

    def __init__(self, peer, context, chain=SMALL_CHAIN) -> None:
        self.peer, self.context, self.chain = peer, context, chain

    def connection(self, air, sock):
        return _Encrypted(air, sock, self)


class _Encrypted:
    """Decrypts the board's data for the inner peer, and encrypts the data of that peer."""

    def __init__(self, air, sock, server) -> None:
        self.air, self.sock, self.chain = air, sock, server.chain
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = server.context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.inside = server.peer.connection(self, sock)
        self.stays_open = self.inside.stays_open
        self.log, self.now_s = air.log, air.now_s

    def feed(self, data) -> None:
        self.incoming.write(data)
        try:
            while found := self.tls.read(65536):  # the first read does the handshake
                self.inside.feed(found)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self._send()
            self.air.arrive(self.sock, None)
            return
        self._send()

    def _send(self, after_s: float = 0.0) -> None:
        if raw := self.outgoing.read():
            self.air.arrive(self.sock, raw, after_s)

    def arrive(self, sock, step, after_s: float = 0.0) -> None:
        if isinstance(step, bytes):
            self.tls.write(step)
            self._send(after_s)
        else:
            self.air.arrive(sock, step, after_s)


class Tcp:
    """A real server to which the board's connection is forwarded. For boards in real time."""

    def __init__(self, host, port) -> None:
        self.address = (host, port)

    def connection(self, air, sock):
        return _Proxy(air, sock, self.address)


class _Proxy:
    stays_open = False

    def __init__(self, air, sock, address) -> None:
        self.air, self.sock = air, sock
        self.pending = b""
        sock.real = socket.create_connection(address, timeout=5)
        sock.real.setblocking(False)

    def feed(self, data) -> None:
        self.pending += data
        self.pump()

    def pump(self) -> None:
        if self.pending:
            try:
                self.pending = self.pending[self.sock.real.send(self.pending) :]
            except BlockingIOError:
                pass
            except OSError:
                self.pending = b""
        while not self.sock.peer_closed and sum(len(i[1] or b"") for i in self.sock.inbox) < 16384:
            try:
                data = self.sock.real.recv(4096)
            except BlockingIOError:
                return
            except OSError as e:
                self.air.arrive(self.sock, 104 if e.errno == errno.ECONNRESET else 113)
                return
            self.air.arrive(self.sock, data or None)
