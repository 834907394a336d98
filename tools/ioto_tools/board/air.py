"""The simulated radio and network: Wi-Fi, DNS, NTP, and the peers that the board can connect to.

All times are of the board's clock, simulated or real. The weaknesses of an ESP32 compared with Linux are simulated too
(the figures are measured, see docs/virtual-board.md): a refused connection appears to succeed, a connection to a host
that never answers fails after 18.5 s, resolving a name without a link blocks for 7 s, and twelve half-closed
connections use up the sockets.
"""

import select
import struct
from dataclasses import dataclass, field

from .clock import EPOCH_2000_S
from .peers import Tcp

EBADF, ENFILE, EAGAIN, ECONNRESET, ENOBUFS = 9, 23, 11, 104, 105
ECONNABORTED, EHOSTUNREACH, EINPROGRESS, ENOTCONN = 113, 118, 119, 128
IN, OUT, ERR, HUP = 1, 4, 8, 16
_TCP = 1
_MOST_OPEN = 10
_MOST_LINGERING = 12
_NEVER_ANSWERS_US = 18500000
_DNS_IP = "10.0.0.1"
_FOREVER = float("inf")


@dataclass
class Fault:
    """A connection that breaks after `bytes` of the reply. `how`: `close`, `reset` or `silent` (no more data)."""

    bytes: int
    how: str = "reset"


@dataclass
class Log:
    """One TCP connection: its address, the bytes sent and received by the board, and the start of the request."""

    address: tuple
    sent: int = 0
    received: int = 0
    request: bytes = b""


@dataclass
class Sock:
    kind: int
    address: tuple = None
    peer: object = None
    real: object = None  # a socket of the host, for peers outside this process
    ready_us: float = _FOREVER  # when the connection attempt completes
    error: int = 0
    inbox: list = field(
        default_factory=list
    )  # [time, data] in order; data is bytes, None for end of stream, or an int for an error
    log: Log = None
    fault: Fault = None
    arrived: int = 0
    peer_closed: bool = False


class Air:
    """`names` {host name: address}; `peers` {(host name or address, port): peer (peers.py)}, other addresses refuse
    connections.

    `wifi` {ssid: password}; `dns` or `ntp` False: those servers do not answer; `silent`: addresses that never answer;
    `faults` {number of the TCP connection, from 0: Fault}; `down` [(from s, to s)]: the link is down in these periods;
    `dead_s`: from this time on, no data passes although the link appears to be up, until the board disconnects and
    reconnects; `outside`: addresses without a peer are reached through this machine's network (in real time); `radio`
    {method of WLAN, or "WLAN": [exception that the driver raises, or None, for each call in turn]}.
    """

    def __init__(
        self,
        names=None,
        peers=None,
        wifi=None,
        dns: bool = True,
        ntp: bool = True,
        unix_s: int = 1_800_000_000,
        silent=(),
        faults=None,
        down=(),
        latency_ms: int = 5,
        bytes_per_s: int = 250_000,
        dead_s=None,
        outside: bool = False,
        radio=None,
    ) -> None:
        self.names = dict(names or {})
        self.peers = {}
        for (host, port), peer in (peers or {}).items():
            if host not in self.names and not host.replace(".", "").isdigit():
                self.names[host] = "10.0.1.%d" % (len(self.names) + 1)
            self.peers[(self.names.get(host, host), port)] = peer
        self.wifi = wifi
        self.dns, self.ntp = dns, ntp
        self.ntp_ahead_s = 0  # error of the NTP servers
        self.unix_s = unix_s  # true time at power-on
        self.silent = set(silent)
        self.faults = dict(faults or {})
        self.down = list(down)
        self.latency_us = latency_ms * 1000
        self.bytes_per_s = bytes_per_s
        self.dead_s = dead_s
        self.outside = outside
        self.radio = {call: list(raised) for call, raised in (radio or {}).items()}
        self.log = []

    def power_on(self, clock) -> None:
        self.clock = clock
        self.socks = {}
        self.lingering = []  # times at which half-closed connections are freed
        self.next_id = 0
        self.active = False
        self.status = 1000
        self.joined_us = _FOREVER
        self.was_up = False
        self.told_us = 0  # next_us() has reported all events up to this time

    # ---- link

    def linked(self):
        now = self.clock.now_us
        if any(a * 1e6 <= now < b * 1e6 for a, b in self.down):
            return False
        if self.wifi is None:
            return True
        return self.active and self.status == 1010 or self._join()

    def _dead(self):
        return self.dead_s is not None and self.clock.now_us >= self.dead_s * 1e6

    def _join(self):
        if self.active and self.status == 1001 and self.clock.now_us >= self.joined_us:
            self.status = self.outcome
            self.was_up |= self.status == 1010
        return self.active and self.status == 1010

    def station(self, what, *args):
        """Simulate a call of network.WLAN or of one of its methods; raises the exceptions of the driver."""
        raised = self.radio.get(what)
        if raised and (e := raised.pop(0)):
            raise e
        up = self.linked()
        if what == "WLAN":
            return None
        if what == "active":
            if args[0] is not None:
                self.active = bool(args[0])
                if not args[0]:
                    self.status = 1000
            return self.active
        if what == "connect":
            if not self.active:
                raise OSError("Wifi Invalid Mode")
            if self.status == 1001 and self.clock.now_us < self.joined_us:
                raise OSError("Wifi Internal Error")
            known = (self.wifi or {args[0]: args[1]}).get(args[0])
            self.outcome = 1010 if known is not None and known == args[1] else 201 if known is None else 202
            self.status = 1001
            self.joined_us = self.clock.now_us + (1000000 if self.outcome == 1010 else 2000000)
            return None
        if what == "disconnect":
            if not self.active:
                raise OSError("Wifi Not Started")
            self.status = 1000
            if self._dead():
                self.dead_s = None
            return None
        if what == "isconnected":
            return up
        if what == "status":
            return 1010 if up else self.status if self.status != 1010 else 200
        if what == "rssi":
            return -60
        return ("10.0.0.2", "255.255.255.0", "10.0.0.1", _DNS_IP) if up or self.was_up else ("0.0.0.0",) * 4

    def resolve(self, name):
        """getaddrinfo: (status, address). Like on the chip, it blocks the whole program, without regard to timeouts."""
        if not self.linked():
            self.clock.advance(7000000 if self.was_up else 20000)
            return -202, b""
        if not self.dns:
            self.clock.advance(6700000)
            return -202, b""
        self.clock.advance(20000)
        found = self.names.get(name)
        return (0, found.encode()) if found else (-202, b"")

    # ---- sockets

    def socket(self, kind):
        now = self.clock.now_us
        self.lingering = [t for t in self.lingering if t > now]
        if len(self.socks) >= _MOST_OPEN:
            return -ENFILE
        if len(self.lingering) >= _MOST_LINGERING:
            return -ENOBUFS
        self.next_id += 1
        self.socks[self.next_id] = Sock(kind)
        return self.next_id

    def connect(self, n, host, port):
        sock = self.socks.get(n)
        if sock is None:
            return -EBADF
        if not self.linked():
            return -EHOSTUNREACH
        now = self.clock.now_us
        sock.address = (host, port)
        if sock.kind != _TCP:
            sock.ready_us = now
            return 0
        sock.log = Log((host, port))
        sock.fault = self.faults.pop(len(self.log), None)
        self.log.append(sock.log)
        if host in self.silent or self._dead():
            sock.ready_us = now + _NEVER_ANSWERS_US
            sock.error = ECONNABORTED
            return -EINPROGRESS
        sock.ready_us = now + 2 * self.latency_us
        peer = self.peers.get((host, port)) or (Tcp(host, port) if self.outside else None)
        try:
            if peer is None:
                raise ConnectionRefusedError
            sock.peer = peer.connection(self, sock)
        except OSError:  # from the real network
            sock.error = ECONNRESET  # refused: reported by the first read or write
        return -EINPROGRESS

    def send(self, n, data):
        sock = self.socks.get(n)
        if sock is None:
            return -EBADF
        if sock.kind != _TCP:
            return self._datagram(sock, sock.address, data)
        if sock.ready_us > self.clock.now_us:
            return -EAGAIN if sock.address else -ENOTCONN
        if sock.error:
            return -sock.error
        if not self.linked():
            return len(data)  # the driver accepts the data without an error
        data = data[:1460]
        sock.log.sent += len(data)
        if len(sock.log.request) < 4096:
            sock.log.request += data
        sock.peer.feed(data)
        return len(data)

    def arrive(self, sock, data, after_s: float = 0.0) -> None:
        """Queue `data` from a peer (bytes, None to close, an int to fail with that errno), `after_s` after its previous
        data.
        """
        at = max(self.clock.now_us + self.latency_us, sock.inbox[-1][0] if sock.inbox else 0) + after_s * 1e6
        if isinstance(data, bytes):
            fault = sock.fault
            if fault and sock.arrived + len(data) >= fault.bytes:
                data, sock.fault = data[: fault.bytes - sock.arrived], None
                self._pieces(sock, data, at)
                sock.arrived = fault.bytes
                last = sock.inbox[-1][0] if sock.inbox else at
                if fault.how != "silent":
                    sock.inbox.append([last, None if fault.how == "close" else ECONNRESET])
                sock.peer_closed = True
                return
            if sock.peer_closed:
                return
            sock.arrived += len(data)
            self._pieces(sock, data, at)
        elif not sock.peer_closed:
            sock.inbox.append([at, data])
            sock.peer_closed = True

    def _pieces(self, sock, data, at) -> None:
        for i in range(0, len(data), 1460):
            piece = data[i : i + 1460]
            at += len(piece) * 1e6 / self.bytes_per_s
            sock.inbox.append([at, piece])

    def recv(self, n, most, line: bool = False):
        """(status, data): at most `most` bytes; with `line`, up to and including a line feed."""
        sock = self.socks.get(n)
        if sock is None:
            return -EBADF, b""
        if sock.real is not None:
            sock.peer.pump()
        now = self.clock.now_us
        if sock.ready_us > now or not self.linked():
            return -EAGAIN, b""
        if sock.error:
            return -sock.error, b""
        out = b""
        while sock.inbox and sock.inbox[0][0] <= now and len(out) < most:
            data = sock.inbox[0][1]
            if not isinstance(data, bytes):
                if not out and data is not None:
                    sock.error = data
                    return -data, b""
                break
            end = min(len(data), most - len(out))
            if line and b"\n" in data[:end]:
                end = data.index(b"\n") + 1
            out += data[:end]
            if end < len(data):
                sock.inbox[0][1] = data[end:]
            else:
                sock.inbox.pop(0)
            if line and out.endswith(b"\n"):
                break
        if out:
            if sock.log:
                sock.log.received += len(out)
            return len(out), out
        ended = sock.inbox and sock.inbox[0][0] <= now and sock.inbox[0][1] is None
        return (0, b"") if ended else (-EAGAIN, b"")

    def recvfrom(self, n, most):
        status, data = self.recv(n, most)
        host, port = self.socks[n].address if n in self.socks and self.socks[n].address else ("0.0.0.0", 0)
        return (status, data) if status < 0 else (port, struct.pack("B", len(host)) + host.encode() + data)

    def close(self, n) -> int:
        sock = self.socks.pop(n, None)
        if sock and sock.real is not None:
            sock.real.close()
        if sock and sock.kind == _TCP and sock.peer and not sock.peer_closed:
            # Only the board's side is closed: the chip keeps the connection for a while.
            if getattr(sock.peer, "stays_open", False):
                self.lingering.append(self.clock.now_us + _NEVER_ANSWERS_US)
        return 0

    def flags(self, n, wanted):
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
        if sock.error or (self.linked() and sock.inbox and sock.inbox[0][0] <= now):
            flags |= IN
        if sock.error == ECONNABORTED:
            flags |= ERR
        return flags & (wanted | ERR | HUP)

    # ---- time

    def next_us(self):
        """Time of the next event of any socket, or of one since the last call; infinity if none is pending.

        A program polls first and then waits: events between the two must not be missed.
        """
        times = [t for s in self.socks.values() for t in [s.ready_us] + [i[0] for i in s.inbox[:1]]]
        times += [self.joined_us] if self.status == 1001 else []
        times += [t * 1e6 for pair in self.down for t in pair]
        found = min((t for t in times if t > self.told_us), default=_FOREVER)
        if found <= self.clock.now_us:
            self.told_us = self.clock.now_us
        return found

    def wait_real(self, seconds, lines=()):
        """Wait in real time for the host's sockets behind the board's sockets, for `lines`, or for `seconds`.

        Returns those of `lines` (readable files) that have data.
        """
        real = [s.real for s in self.socks.values() if s.real is not None and not s.peer_closed]
        for_write = [s.real for s in self.socks.values() if s.real is not None and s.peer.pending]
        ready = select.select(real + list(lines), for_write, [], seconds)[0]
        for sock in list(self.socks.values()):
            if sock.real is not None:
                sock.peer.pump()
        return [line for line in lines if line in ready]

    # ---- datagrams

    def _datagram(self, sock, address, data):
        if address is None:
            return -ENOTCONN
        if not self.linked():
            return -EHOSTUNREACH
        if self._dead():
            return len(data)
        reply = None
        if address[1] == 53 and self.dns and address[0] == _DNS_IP:
            reply = self._dns(data)
        elif address[1] == 123 and self.ntp and len(data) >= 48:
            seconds = self.now_s() + self.ntp_ahead_s + 2208988800
            reply = b"\x24\x01\x00\xec" + bytes(20) + data[40:48] + struct.pack(">II", seconds & 0xFFFFFFFF, 0) * 2
        if reply is not None:
            sock.inbox.append([self.clock.now_us + self.latency_us, reply])
        return len(data)

    def sendto(self, n, host, port, data):
        sock = self.socks.get(n)
        if sock is None:
            return -EBADF
        sock.address = (host, port)
        sock.ready_us = self.clock.now_us
        return self._datagram(sock, sock.address, data)

    def _dns(self, query):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode())
            at += query[at] + 1
        found = self.names.get(".".join(labels))
        question = query[12 : at + 5]
        if found is None:
            return query[:2] + b"\x81\x83\0\1\0\0\0\0\0\0" + question
        answer = b"\xc0\x0c\0\1\0\1\0\0\x01\x2c\0\4" + bytes(int(p) for p in found.split("."))
        return query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + question + answer

    def now_s(self):
        """True Unix time in seconds, as NTP and the servers know it."""
        return self.unix_s + self.clock.now_us // 1000000

    def true_rtc_s(self):
        return self.now_s() - EPOCH_2000_S
