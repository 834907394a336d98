"""MicroPython's `socket` on the simulated network, with the error numbers and the behaviour of the chip."""

import io
import struct

import _bus
import _heap

AF_INET, AF_INET6, SOCK_STREAM, SOCK_DGRAM, SOL_SOCKET, SO_REUSEADDR = 2, 10, 1, 2, 0xFFF, 4
IPPROTO_TCP, IPPROTO_UDP = 6, 17
_EAGAIN = 11
_POLL, _CLOSE = 3, 4


def _check(status):
    if status < 0:
        raise OSError(-status)
    return status


def _is_literal(host):
    parts = host.split(".")
    return len(parts) == 4 and all(p.isdigit() for p in parts)


def getaddrinfo(host, port, af=0, type=SOCK_STREAM, proto=0, flags=0):
    if not _is_literal(host):
        status, found = _bus.call(72, 0, 0, host.encode())
        if status < 0:
            raise OSError(status)
        host = found.decode()
    return [(AF_INET, type or SOCK_STREAM, 0, "", (host, int(port)))]


class socket(io.IOBase):
    def __init__(self, af=AF_INET, type=SOCK_STREAM, proto=0):
        self._id = _check(_bus.call(64, type)[0])
        self._timeout_ms = None  # None blocks forever, 0 never
        self.type = type

    def setblocking(self, flag):
        self._timeout_ms = None if flag else 0

    def settimeout(self, seconds):
        self._timeout_ms = None if seconds is None else int(seconds * 1000)

    def setsockopt(self, *args):
        pass

    # Do `op`; if it would block, wait for `flags`, limited by the timeout of the socket.
    def _blocking(self, op, a, data, flags, into=None):
        while True:
            status, reply = _bus.call(op, self._id, a, data, into)
            if status != -_EAGAIN:
                return _check(status), reply
            if self._timeout_ms == 0:
                return None, None
            self._wait(flags)

    def _wait(self, flags):
        import time

        began = time.ticks_ms()
        while not self.ioctl(_POLL, flags):
            left = -1
            if self._timeout_ms is not None:
                left = self._timeout_ms - time.ticks_diff(time.ticks_ms(), began)
                if left <= 0:
                    raise OSError(116)
            _bus.wait(71, left * 1000)

    def connect(self, address):
        host, port = address
        if not _is_literal(host):
            host = getaddrinfo(host, port)[0][-1][0]
        status = _bus.call(65, self._id, port, host.encode())[0]
        if status == -119 and self._timeout_ms != 0:
            self._wait(4)
            return
        _check(status)

    def send(self, data):
        return self._blocking(66, 0, data.encode() if isinstance(data, str) else bytes(data), 4)[0]

    write = send

    def sendall(self, data):
        data = memoryview(data)
        while data:
            data = data[self.send(data) or 0 :]

    def recv(self, n):
        status, reply = self._blocking(67, n, b"", 1)
        if status is None:
            raise OSError(_EAGAIN)
        return reply

    def read(self, n=-1):
        if n < 0:
            whole = b""
            while True:
                part = self.read(1024)
                if not part:
                    return whole or part
                whole += part
        status, reply = self._blocking(67, n, b"", 1)
        return None if status is None else reply

    def readinto(self, buf, n=None):
        status, got = self._blocking(67, len(buf) if n is None else min(n, len(buf)), b"", 1, buf)
        return None if status is None else got

    def readline(self, n=-1):
        status, reply = self._blocking(67, n if n > 0 else 1024, b"\n", 1)
        return None if status is None else reply

    def sendto(self, data, address):
        return _check(
            _bus.call(68, self._id, address[1], struct.pack("B", len(address[0])) + address[0].encode() + bytes(data))[
                0
            ]
        )

    def recvfrom(self, n):
        status, reply = self._blocking(69, n, b"", 1)
        if status is None:
            raise OSError(_EAGAIN)
        at = 1 + reply[0]
        return reply[at:], (reply[1:at].decode(), status)

    def ioctl(self, request, arg):
        if request == _POLL:
            return _bus.call(71, 0, self._id + 1, struct.pack("B", arg & 31))[0] & 0xFF
        if request == _CLOSE:
            self.close()
            return 0
        return -22

    def close(self):
        if self._id >= 0:
            _bus.call(70, self._id)
            _heap.drop(self._id)
            self._id = -1

    def makefile(self, *args):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.close()
