"""Limits on a worker's connections: their number, the number from one address, and the time for a request's head.

At a limit, the connection that has been silent for longest is closed to make room. A connection with a complete request
is never closed to make room. If every connection has a complete request, the new connection is closed.
"""

import asyncio
import logging
import resource
import time
from collections import Counter

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from .addresses import client_network
from .joined_writes import JoinedWrites

MAX_CONNECTIONS = 4000  # connections of one worker
PER_ADDRESS = 200  # per IPv4 address or IPv6 /64; fleets behind one router share an address
PROXIES = ("127.0.0.1", "::1")  # uvicorn trusts their X-Forwarded-For: they forward the requests of many clients
HEAD_S = 10  # from the first byte of a request, or from the opening of the connection, to the end of the request's head
IDLE_S = 5  # between two requests
FLUSH_S = 900  # for a client to read the rest of a response after the server has closed the connection
_SPARE_FILES = 100  # descriptors for the database, images and logs
_LOG_EVERY_S = 60
_log = logging.getLogger("ioto.cloud")


def within_open_file_limit(most: int) -> int:
    """Raise the limit of open files as far as permitted; return `most`, or fewer if the limit is too low for that."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # not permitted
        pass
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if files == resource.RLIM_INFINITY else max(1, min(most, files - _SPARE_FILES))


class Connections:
    """The open connections of one worker: `most` in all, `per_address` from each address."""

    def __init__(self, most: int = MAX_CONNECTIONS, per_address: int = PER_ADDRESS) -> None:
        self.most = most
        self.per_address = per_address
        self._addresses: dict[Limited, str] = {}
        self._count: Counter[str] = Counter()  # address -> connections
        self._waiting: dict[Limited, bool] = {}  # connections without a complete request, longest wait first
        self._closed = 0  # since the last log line
        self._logged_at: float | None = None

    def __len__(self) -> int:
        return len(self._addresses)

    def add(self, protocol: "Limited") -> bool:
        """Add a new connection. False: there is no room, and the caller must close it."""
        address = client_network(protocol.client[0]) if protocol.client else ""
        if address not in PROXIES and self._count[address] >= self.per_address and not self._make_room(address):
            return self._refuse("%d connections from %s", self.per_address, address)
        if len(self) >= self.most and not self._make_room():
            return self._refuse("%d connections", self.most)
        self._addresses[protocol] = address
        self._count[address] += 1
        self._waiting[protocol] = True
        return True

    def remove(self, protocol: "Limited") -> None:
        address = self._addresses.pop(protocol, None)
        if address is None:
            return
        self._waiting.pop(protocol, None)
        self._count[address] -= 1
        if not self._count[address]:
            del self._count[address]

    def busy(self, protocol: "Limited") -> None:
        """Record that the connection has sent a complete request."""
        self._waiting.pop(protocol, None)

    def receiving(self, protocol: "Limited") -> None:
        """Record that the connection has sent part of a request's body."""
        if protocol in self._addresses:
            self._waiting.pop(protocol, None)
            self._waiting[protocol] = True

    def idle(self, protocol: "Limited") -> None:
        """Record that the connection is waiting for a request, or for the rest of a head."""
        if protocol in self._addresses:
            self._waiting.setdefault(protocol, True)

    def _make_room(self, address: str | None = None) -> bool:
        """Close the waiting connection that has been silent for longest. Returns False if none is waiting.

        `address`: only connections from this address are closed; None: from any address.
        """
        found = (protocol for protocol in self._waiting if address is None or self._addresses[protocol] == address)
        protocol = next(found, None)
        if protocol is None:
            return False
        self.remove(protocol)
        protocol.transport.abort()
        self._log("%d connections: the longest silent ones are closed", len(self) + 1)
        return True

    def _refuse(self, text: str, *values: int | str) -> bool:
        self._log(text, *values)
        return False

    def _log(self, text: str, *values: int | str) -> None:
        """Log at most once in _LOG_EVERY_S: an attack must not fill the log."""
        self._closed += 1
        now = time.monotonic()
        if self._logged_at is None or now - self._logged_at >= _LOG_EVERY_S:
            _log.warning(
                "connection limit reached: " + text + " (%d connections closed since the last such line)",
                *values,
                self._closed,
            )
            self._logged_at, self._closed = now, 0


def limited_protocol(connections: Connections) -> type["Limited"]:
    """The protocol class for uvicorn, within the limits of `connections`."""
    return type("Limited", (Limited,), {"limits": connections})


class Limited(H11Protocol):
    """uvicorn's HTTP/1.1 protocol within the limits of `limits`, a Connections."""

    limits: Connections  # set in the subclass that limited_protocol() returns
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in H11Protocol
        super().connection_made(JoinedWrites(transport, self.loop))  # type: ignore[arg-type]
        if self.limits.add(self):
            self._wait_for_head()
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.limits.remove(self)
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._update_state()

    def on_response_complete(self) -> None:
        super().on_response_complete()  # handles the next request at once if it has arrived already
        self._update_state()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()  # closes the connection after the client has read everything
        self.loop.call_later(FLUSH_S, self.transport.abort)

    def _update_state(self) -> None:
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
            if self.conn.their_state is h11.SEND_BODY:  # a slow body is allowed until another connection needs the room
                self.limits.receiving(self)
            else:
                self.limits.busy(self)
            return
        self.limits.idle(self)
        if self.timeout_keep_alive_task is None:  # part of a head has arrived
            self._wait_for_head()

    def _wait_for_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_S, self._close_slow)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _close_slow(self) -> None:
        self._head_timer = None
        self.transport.abort()
