"""Every wait has a limit: silence, single bytes, and peers that never read, at each step of a request."""

import errno
import hashlib
import socket

import pytest
from loopback import one, reason

OK = b"HTTP/1.1 200 OK\r\n"
LIMIT_MS = 250


def drip(conn, server, data, every_s=0.05):
    for i in range(len(data)):
        conn.sendall(data[i : i + 1])
        server.pause(every_s)


def timed_out(result):
    assert reason(result) == "os" and result["error"][1] == errno.ETIMEDOUT, result
    return True


@pytest.mark.parametrize("transport", ("asyncio", "urequests"))
@pytest.mark.parametrize(
    "begin",
    (
        b"",
        b"HTTP/1.1 2",
        OK,
        OK + b"Content-Le",
        OK + b"Content-Length: 50000\r\n\r\n",
        OK + b"Content-Length: 50000\r\n\r\n" + b"x" * 49999,
    ),
)
def test_silence_at_each_step_times_out(serve, begin, transport):
    def answer(conn, request):
        conn.sendall(begin)
        server.pause(20)

    server = serve(answer)
    assert timed_out(one(server.url, limit_ms=LIMIT_MS, transport=transport))


@pytest.mark.parametrize(
    "begin",
    (
        b"",
        OK,
        OK + b"X: ",
        OK + b"Content-Length: 50000\r\n\r\n",
        OK + b"\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n50000\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n",
    ),
)
def test_dripped_bytes_time_out(serve, begin):
    """The limit applies to the head and to each buffer, not to each byte."""

    def answer(conn, request):
        conn.sendall(begin)
        if begin == OK + b"Transfer-Encoding: chunked\r\n\r\n":
            for _ in range(200):
                conn.sendall(b"1\r\nx\r\n")
                server.pause(0.05)
        drip(conn, server, (OK if not begin else b"") + b"x" * 200)

    server = serve(answer)
    assert timed_out(one(server.url, limit_ms=LIMIT_MS))
    if begin[-4:] == b"\r\n\r\n":
        assert timed_out(one(server.url, limit_ms=LIMIT_MS, most=4096))


@pytest.mark.parametrize("chunked", (False, True))
def test_a_slow_but_steady_body_arrives(serve, chunked):
    """The limit applies to each buffer separately, so a body that takes longer in total arrives."""

    def answer(conn, request):
        conn.sendall(OK + (b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 100") + b"\r\n\r\n")
        drip(conn, server, b"64\r\n" * chunked + b"x" * 100 + b"\r\n0\r\n\r\n" * chunked, 0.015)

    server = serve(answer)
    result = one(server.url, limit_ms=750, read=10)
    assert not reason(result) and result["reads"] == [10] * 10 + [0], result


def test_a_peer_that_never_reads_times_out():
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    try:
        url = "http://127.0.0.1:%d/" % sock.getsockname()[1]
        assert timed_out(one(url, method="POST", pad=6_000_000, limit_ms=LIMIT_MS))
    finally:
        sock.close()


def test_a_peer_that_never_accepts_times_out():
    sock = socket.socket()
    waiting = []
    try:
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        for _ in range(4):
            waiting.append(socket.socket())
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(sock.getsockname())
        assert timed_out(one("http://127.0.0.1:%d/" % sock.getsockname()[1], limit_ms=LIMIT_MS))
    finally:
        for each in waiting + [sock]:
            each.close()


def test_connection_refused():
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    sock.close()
    for transport in ("asyncio", "urequests"):
        assert reason(one("http://127.0.0.1:%d/" % port, transport=transport)) == "os"


@pytest.mark.parametrize("stop_ms", (1, 20, 60, 100, 140, 180, 300))
def test_cancelling_a_request_leaves_nothing_behind(serve, stop_ms):
    """Cancelling the task at any time raises CancelledError, and leaves no task or socket."""

    def answer(conn, request):
        server.pause(0.05)
        conn.sendall(OK + b"Content-Length: 5\r\n")
        server.pause(0.05)
        conn.sendall(b"\r\nhe")
        server.pause(5)

    server = serve(answer)
    assert reason(one(server.url, limit_ms=5000, stop_ms=stop_ms)) == "CancelledError"


@pytest.mark.parametrize("limit_ms, stop_ms", [(240, 360), (360, 240)])
def test_cancelling_while_the_time_limit_expires(serve, limit_ms, stop_ms):
    """Another task blocks the loop, so that cancellation and limit are due at once, in either order."""
    server = serve(lambda conn, request: server.pause(5))
    for _ in range(2):
        found = one(server.url, limit_ms=limit_ms, stop_ms=stop_ms, busy_ms=(120, 480))
        assert reason(found) == "CancelledError", found


def test_connection_reset_by_the_peer(serve):
    """The connection is reset before the head, or within the body."""
    for begin in (b"", OK, OK + b"Content-Length: 50\r\n\r\nhello"):

        def answer(conn, request):
            conn.sendall(begin)
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            conn.close()

        for transport in ("asyncio", "urequests"):
            assert reason(one(serve(answer).url, transport=transport)) in ("os", "http_malformed"), begin


def test_a_long_body_under_a_short_limit(serve):
    """400 blocks of 4 KiB over one connection, with a limit so short that its timer runs many times."""
    body = bytes(range(256)) * 16 * 400

    def answer(conn, request):
        conn.sendall(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    result = one(serve(answer).url, limit_ms=250)
    assert result["reads"] == [4096] * 400 + [0]
    assert result["sha256"] == hashlib.sha256(body).hexdigest()
