"""The simulated network around the board: Wi-Fi, DNS, NTP, and the peers that the board can connect to.

All times are on the board's clock, simulated or real. The weaknesses of an ESP32 compared with Linux are
simulated too (the figures are measured, see docs/virtual-board.md): a refused connection appears to succeed; a
connection to a host that never answers fails after 18.5 s, resolving a name without a link blocks for 7 s, and twelve
half-closed connections use up the sockets.
"""

import select
import struct
from collections.abc import Iterable, Mapping
from typing import Any

from .clock import Clock
from .dns_and_ntp import DNS_PORT, NTP_PORT, dns_reply, ntp_reply
from .peers import Peer, RealServer
from .sockets import EAGAIN, ECONNABORTED, ECONNRESET, TCP, ConnectionLog, Socket
from .wifi_station import NAME_SERVER, WifiStation

EBADF, ENFILE, ENOBUFS = 9, 23, 105
EHOSTUNREACH, EINPROGRESS, ENOTCONN = 118, 119, 128
IN, OUT, ERR, HUP = 1, 4, 8, 16
_MOST_OPEN = 10
_MOST_LINGERING = 12
_NEVER_ANSWERS_US = 18500000
_LOGGED_BYTES = 4096  # the first bytes of a request
_FOREVER = float("inf")


class SimulatedNetwork:
    """`names` {host name: address}; `peers` {(host name or address, port): peer}, see peers.py. Other addresses refuse.

    `wifi` {ssid: password}, None without Wi-Fi; `ntp` False: the time servers do not answer; `unix_s`: the true time at
    power-on; `dead_s`: from this time on, no data passes although the link appears to be up, until the board
    disconnects and reconnects; `outside`: addresses without a peer are reached through this machine's network (in real
    time); `radio` {method of WLAN, or "WLAN": [exception that the driver raises, or None, for each call in turn]}.
    """

    def __init__(
        self,
        names: Mapping[str, str] | None = None,
        peers: Mapping[tuple[str, int], Peer] | None = None,
        wifi: dict[str, str] | None = None,
        ntp: bool = True,
        unix_s: int = 1_800_000_000,
        latency_ms: int = 5,
        bytes_per_s: int = 250_000,
        dead_s: float | None = None,
        outside: bool = False,
        radio: Mapping[str, Iterable[Exception | None]] | None = None,
    ) -> None:
        self.names = dict(names or {})
        self.peers = {}
        for (host, port), peer in (peers or {}).items():
            if host not in self.names and not host.replace(".", "").isdigit():
                self.names[host] = "10.0.1.%d" % (len(self.names) + 1)
            self.peers[(self.names.get(host, host), port)] = peer
        self.ntp = ntp
        self.ntp_ahead_s = 0  # error of the NTP servers
        self.unix_s = unix_s
        self.latency_us = latency_ms * 1000
        self.bytes_per_s = bytes_per_s
        self.outside = outside
        self.radio = {call: list(raised) for call, raised in (radio or {}).items()}
        self.station = WifiStation(wifi, self.radio, dead_s)
        self.log: list[ConnectionLog] = []

    def power_on(self, clock: Clock) -> None:
        self.clock = clock
        self.socks: dict[int, Socket] = {}
        self.lingering: list[float] = []  # times at which half-closed connections are freed
        self.next_id = 0
        self.station.power_on(clock)
        self.reported_us: float = 0  # next_us() has reported all events up to this time

    def resolve(self, name: str) -> tuple[int, bytes]:
        """getaddrinfo: (status, address). As on the chip, it blocks the whole program, regardless of timeouts."""
        if not self.station.is_up():
            self.clock.advance(7000000 if self.station.was_up else 20000)
            return -202, b""
        self.clock.advance(20000)
        found = self.names.get(name)
        return (0, found.encode()) if found else (-202, b"")

    # ---- sockets

    def socket(self, kind: int) -> int:
        now = self.clock.now_us
        self.lingering = [t for t in self.lingering if t > now]
        if len(self.socks) >= _MOST_OPEN:
            return -ENFILE
        if len(self.lingering) >= _MOST_LINGERING:
            return -ENOBUFS
        self.next_id += 1
        self.socks[self.next_id] = Socket(kind)
        return self.next_id

    def connect(self, n: int, host: str, port: int) -> int:
        sock = self.socks.get(n)
        if sock is None:
            return -EBADF
        if not self.station.is_up():
            return -EHOSTUNREACH
        now = self.clock.now_us
        sock.address = (host, port)
        if sock.kind != TCP:
            sock.ready_us = now
            return 0
        sock.log = ConnectionLog((host, port))
        self.log.append(sock.log)
        if self.station.is_dead():
            sock.ready_us = now + _NEVER_ANSWERS_US
            sock.error = ECONNABORTED
            return -EINPROGRESS
        sock.ready_us = now + 2 * self.latency_us
        peer = self.peers.get((host, port)) or (RealServer(host, port) if self.outside else None)
        try:
            if peer is None:
                raise ConnectionRefusedError
            sock.peer = peer.connection(self, sock)
        except OSError:  # from the real network
            sock.error = ECONNRESET  # refused: the first read or write reports it
        return -EINPROGRESS

    def send(self, n: int, data: bytes) -> int:
        sock = self.socks.get(n)
        if sock is None:
            return -EBADF
        if sock.kind != TCP:
            return self._datagram(sock, data)
        if sock.ready_us > self.clock.now_us:
            return -EAGAIN if sock.address else -ENOTCONN
        if sock.error:
            return -sock.error
        if not self.station.is_up():
            return len(data)  # the driver accepts the data without an error
        data = data[:1460]
        assert sock.log  # since connect()
        sock.log.sent += len(data)
        if len(sock.log.request) < _LOGGED_BYTES:
            sock.log.request += data
        sock.peer.feed(data)
        return len(data)

    def arrive(self, sock: Socket, data: bytes | int | None, after_s: float = 0.0) -> None:
        """Queue `data` from a peer, `after_s` after its previous data.

        `data` is bytes, None to close, or an int to fail with that errno.
        """
        at_us = max(self.clock.now_us + self.latency_us, sock.inbox[-1][0] if sock.inbox else 0) + after_s * 1e6
        sock.queue(data, at_us, self.bytes_per_s)

    def recv(self, n: int, most: int, line: bool = False) -> tuple[int, bytes]:
        """(status, data): at most `most` bytes; with `line`, up to and including a line feed."""
        sock = self.socks.get(n)
        if sock is None:
            return -EBADF, b""
        if sock.real is not None:
            sock.peer.pump()
        now = self.clock.now_us
        if sock.ready_us > now or not self.station.is_up():
            return -EAGAIN, b""
        if sock.error:
            return -sock.error, b""
        return sock.take(most, line, now)

    def recvfrom(self, n: int, most: int) -> tuple[int, bytes]:
        """(port or error, data). `data` is the length of the host's address, the address, and the datagram."""
        status, data = self.recv(n, most)
        if status < 0:
            return status, data
        host, port = self.socks[n].address or ("0.0.0.0", 0)
        return port, struct.pack("B", len(host)) + host.encode() + data

    def close(self, n: int) -> int:
        sock = self.socks.pop(n, None)
        if sock and sock.real is not None:
            sock.real.close()
        if sock and sock.kind == TCP and sock.peer and not sock.peer_closed:
            # Only the board's side is closed: the chip keeps the connection for a while.
            if getattr(sock.peer, "stays_open", False):
                self.lingering.append(self.clock.now_us + _NEVER_ANSWERS_US)
        return 0

    def flags(self, n: int, wanted: int) -> int:
        """The poll flags that are set."""
        sock = self.socks.get(n)
        if sock is None:
            return ERR
        if sock.real is not None:
            sock.peer.pump()
        now = self.clock.now_us
        if sock.ready_us > now:
            return 0
        flags = OUT
        if sock.error or (self.station.is_up() and sock.has_arrived(now)):
            flags |= IN
        if sock.error == ECONNABORTED:
            flags |= ERR
        return flags & (wanted | ERR | HUP)

    # ---- time

    def next_us(self) -> float:
        """Time of the next event of any socket, or of an event since the last call; infinity if none is pending.

        A program polls first and then waits: an event between the two must not be missed.
        """
        times = [t for s in self.socks.values() for t in [s.ready_us] + [i[0] for i in s.inbox[:1]]]
        times.append(self.station.next_us())
        found = min((t for t in times if t > self.reported_us), default=_FOREVER)
        if found <= self.clock.now_us:
            self.reported_us = self.clock.now_us
        return found

    def wait_real(self, seconds: float, lines: Iterable[Any] = ()) -> list[Any]:
        """Wait in real time, at most `seconds`, for the host's sockets behind the board's sockets or for `lines`.

        Returns the `lines` (readable files) that have data.
        """
        real = [s.real for s in self.socks.values() if s.real is not None and not s.peer_closed]
        for_write = [s.real for s in self.socks.values() if s.real is not None and s.peer.pending]
        ready = select.select(real + list(lines), for_write, [], seconds)[0]
        for sock in list(self.socks.values()):
            if sock.real is not None:
                sock.peer.pump()
        return [line for line in lines if line in ready]

    def now_s(self) -> int:
        """The true Unix time in seconds: the servers' time, and NTP's if `ntp_ahead_s` is 0."""
        return self.unix_s + self.clock.now_us // 1000000

    # ---- datagrams

    def sendto(self, n: int, host: str, port: int, data: bytes) -> int:
        sock = self.socks.get(n)
        if sock is None:
            return -EBADF
        sock.address = (host, port)
        sock.ready_us = self.clock.now_us
        return self._datagram(sock, data)

    def _datagram(self, sock: Socket, data: bytes) -> int:
        if sock.address is None:
            return -ENOTCONN
        if not self.station.is_up():
            return -EHOSTUNREACH
        if self.station.is_dead():
            return len(data)
        host, port = sock.address
        reply = None
        if port == DNS_PORT and host == NAME_SERVER:
            reply = dns_reply(data, self.names)
        elif port == NTP_PORT and self.ntp and len(data) >= 48:
            reply = ntp_reply(data, self.now_s() + self.ntp_ahead_s)
        if reply is not None:
            sock.inbox.append([self.clock.now_us + self.latency_us, reply])
        return len(data)
