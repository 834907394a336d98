"""A socket of the board on the simulated network: its state, and the data that has been sent to it."""

from dataclasses import dataclass, field
from typing import Any

EAGAIN, ECONNRESET, ECONNABORTED = 11, 104, 113
TCP = 1
_SEGMENT_BYTES = 1460
_FOREVER = float("inf")


@dataclass
class ConnectionLog:
    """One TCP connection: its address, the bytes sent and received by the board, and the start of the request."""

    address: tuple[str, int]
    sent: int = 0
    received: int = 0
    request: bytes = b""


@dataclass
class Socket:
    kind: int  # TCP, or UDP
    address: tuple[str, int] | None = None
    peer: Any = None  # the peer's end of the connection (peers.py)
    real: Any = None  # a socket of the host, for peers outside this process
    ready_us: float = _FOREVER  # when the connection attempt completes
    error: int = 0
    # [time, data] in order; data is bytes, None for end of stream, or an int for an error
    inbox: list[list[Any]] = field(default_factory=list)
    log: ConnectionLog | None = None
    peer_closed: bool = False

    def queue(self, data: bytes | int | None, at_us: float, bytes_per_s: int) -> None:
        """Queue `data` from the peer (bytes, None to close, an int to fail with that errno), to arrive from `at_us`."""
        if self.peer_closed:
            return
        if isinstance(data, bytes):
            for i in range(0, len(data), _SEGMENT_BYTES):
                piece = data[i : i + _SEGMENT_BYTES]
                at_us += len(piece) * 1e6 / bytes_per_s
                self.inbox.append([at_us, piece])
        else:
            self.inbox.append([at_us, data])
            self.peer_closed = True

    def has_arrived(self, now_us: float) -> bool:
        return bool(self.inbox) and self.inbox[0][0] <= now_us

    def take(self, most: int, line: bool, now_us: float) -> tuple[int, bytes]:
        """(status, data): at most `most` of the bytes that have arrived; with `line`, not beyond a line feed."""
        out = b""
        while self.has_arrived(now_us) and len(out) < most:
            data = self.inbox[0][1]
            if not isinstance(data, bytes):
                if not out and data is not None:
                    self.error = data
                    return -data, b""
                break
            end = min(len(data), most - len(out))
            if line and b"\n" in data[:end]:
                end = data.index(b"\n") + 1
            out += data[:end]
            if end < len(data):
                self.inbox[0][1] = data[end:]
            else:
                self.inbox.pop(0)
            if line and out.endswith(b"\n"):
                break
        if out:
            if self.log:
                self.log.received += len(out)
            return len(out), out
        ended = self.has_arrived(now_us) and self.inbox[0][1] is None
        return (0, b"") if ended else (-EAGAIN, b"")
