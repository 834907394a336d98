"""Peers that the board can connect to: an ASGI application in this process, a script, or a real server."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from email.utils import formatdate
from typing import Any, Protocol

import h11

from .memory import SMALL_CHAIN
from .sockets import ECONNABORTED, ECONNRESET, Socket

Data = bytes | int | None  # bytes to send, an int to fail with that errno, None to close
Step = Data | tuple[float, Data]  # or (seconds of delay, data)
Answer = Callable[[str, str, dict[str, str], bytes], Iterable[Step]]


class Network(Protocol):
    """The part of the simulated network that a peer uses."""

    def arrive(self, sock: Socket, data: Data, after_s: float = 0.0) -> None: ...

    def now_s(self) -> int: ...


class Connection(Protocol):
    """The peer's end of one connection."""

    stays_open: bool  # if the board closes only its own end

    def feed(self, data: bytes) -> None: ...


class Peer(Protocol):
    def connection(self, network: Network, sock: Socket) -> Connection: ...


class _Http:
    """Parses the requests of one connection; calls `answer(self)` for each complete request."""

    stays_open = False

    def __init__(self, network: Network, sock: Socket, answer: Callable[["_Http"], None]) -> None:
        self.network, self.sock, self.answer = network, sock, answer
        self.machine = h11.Connection(h11.SERVER)
        self.request: h11.Request | None = None
        self.body = b""

    def feed(self, data: bytes) -> None:
        self.machine.receive_data(data)
        while True:
            try:
                event = self.machine.next_event()
            except h11.RemoteProtocolError:
                self.network.arrive(
                    self.sock, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
                self.network.arrive(self.sock, None)
                return
            if isinstance(event, h11.Request):
                self.request, self.body = event, b""
            elif isinstance(event, h11.Data):
                self.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self.answer(self)
            else:
                return

    def send(self, event: h11.Event) -> None:
        raw = self.machine.send(event)
        if raw:
            self.network.arrive(self.sock, bytes(raw))


class AsgiServer:
    """An ASGI application, called in this process; its response is timed by the board's clock.

    Like a real server, it sends a `Date` header.
    """

    def __init__(self, app: Callable[..., Any], scheme: str = "http", date: bool = True) -> None:
        self.app, self.scheme, self.date = app, scheme, date

    def connection(self, network: Network, sock: Socket) -> _Http:
        return _Http(network, sock, self._answer)

    def _answer(self, http: _Http) -> None:
        asyncio.run(self._call(http))
        if http.machine.our_state is h11.MUST_CLOSE:
            http.network.arrive(http.sock, None)
        elif http.machine.our_state is h11.DONE:
            http.machine.start_next_cycle()

    async def _call(self, http: _Http) -> None:
        request = http.request
        assert request
        path, _, query = request.target.partition(b"?")
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": request.method.decode(),
            "scheme": self.scheme, "path": path.decode(), "raw_path": path, "query_string": query, "root_path": "",
            "headers": [(bytes(k).lower(), bytes(v)) for k, v in request.headers], "client": ("10.0.0.2", 40000),
            "server": http.sock.address,
        }  # fmt: skip
        is_received = False

        async def receive() -> dict[str, Any]:
            nonlocal is_received
            if is_received:
                await asyncio.sleep(3600)
            is_received = True
            return {"type": "http.request", "body": http.body, "more_body": False}

        async def send(message: Mapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = [(k, v) for k, v in message["headers"]]
                if self.date:
                    headers.append((b"date", formatdate(http.network.now_s(), usegmt=True).encode()))
                http.send(h11.Response(status_code=message["status"], headers=headers))
            else:
                if message.get("body") and request.method != b"HEAD":
                    http.send(h11.Data(data=message["body"]))
                if not message.get("more_body"):
                    http.send(h11.EndOfMessage())

        await self.app(scope, receive, send)


class ScriptedServer:
    """A scripted server: `answer(method, path, headers, body)` returns the steps of the response.

    A step is bytes to send, None to close, an int to fail with that errno, or (seconds, step) to delay a step. After
    the last step the peer is silent until the next request.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def connection(self, network: Network, sock: Socket) -> _Http:
        http = _Http(network, sock, self._answer)
        http.stays_open = True
        return http

    def _answer(self, http: _Http) -> None:
        assert http.request
        headers = {bytes(k).decode().lower(): bytes(v).decode() for k, v in http.request.headers}
        method, path = http.request.method.decode(), http.request.target.decode()
        for step in self.answer(method, path, headers, http.body):
            after_s, data = step if isinstance(step, tuple) else (0, step)
            http.network.arrive(http.sock, data, after_s)
        http.machine = h11.Connection(h11.SERVER)  # for the next request


def http_response(body: bytes = b"", status: int = 200, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """The bytes of a simple HTTP response with Content-Length, for ScriptedServer."""
    lines = ["HTTP/1.1 %d x" % status, "Content-Length: %d" % len(body)] + ["%s: %s" % h for h in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class TlsServer:
    """TLS in front of another peer; `chain` is the memory for the server's certificates (memory.py)."""

    def __init__(self, peer: Peer, context: ssl.SSLContext, chain: tuple[int, int] = SMALL_CHAIN) -> None:
        self.peer, self.context, self.chain = peer, context, chain

    def connection(self, network: Network, sock: Socket) -> "_Encrypted":
        return _Encrypted(network, sock, self)


class _Encrypted:
    """Decrypts the board's data for the inner peer, and encrypts the data of that peer."""

    def __init__(self, network: Network, sock: Socket, server: TlsServer) -> None:
        self.network, self.sock, self.chain = network, sock, server.chain
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = server.context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.inside = server.peer.connection(self, sock)
        self.stays_open = self.inside.stays_open
        self.now_s = network.now_s

    def feed(self, data: bytes) -> None:
        self.incoming.write(data)
        try:
            while found := self.tls.read(65536):  # the first read does the handshake
                self.inside.feed(found)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self._send()
            self.network.arrive(self.sock, None)
            return
        self._send()

    def _send(self, after_s: float = 0.0) -> None:
        if raw := self.outgoing.read():
            self.network.arrive(self.sock, raw, after_s)

    def arrive(self, sock: Socket, data: Data, after_s: float = 0.0) -> None:
        if isinstance(data, bytes):
            self.tls.write(data)
            self._send(after_s)
        else:
            self.network.arrive(sock, data, after_s)


class RealServer:
    """A real server to which the board's connection is forwarded. For boards in real time."""

    def __init__(self, host: str, port: int) -> None:
        self.address = (host, port)

    def connection(self, network: Network, sock: Socket) -> "_Proxy":
        return _Proxy(network, sock, self.address)


class _Proxy:
    """Forwards data between the board's socket and a socket of this machine."""

    stays_open = False

    def __init__(self, network: Network, sock: Socket, address: tuple[str, int]) -> None:
        self.network, self.sock = network, sock
        self.pending = b""
        sock.real = socket.create_connection(address, timeout=5)
        sock.real.setblocking(False)

    def feed(self, data: bytes) -> None:
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
                self.network.arrive(self.sock, ECONNRESET if e.errno == errno.ECONNRESET else ECONNABORTED)
                return
            self.network.arrive(self.sock, data or None)
