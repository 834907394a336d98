"""One connection for several requests: when it is reused, when it must not be, and when the server closes it."""

import errno
import time

import pytest
from loopback import one, reason

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GOOD = {
    "length": OK, "empty": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "no content": b"HTTP/1.1 204 No\r\n\r\n",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "404": b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno",
    "said": b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nok",
}  # fmt: skip
LAST = {
    "said": b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 2\r\n\r\nok",
    "old": b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "more than its length": OK + b"HTTP/1.1 500 Smuggled\r\nContent-Length: 0\r\n\r\n",
}  # fmt: skip


def stays(reply):
    def answer(conn, request):
        conn.sendall(reply)
        return True

    return answer


def ended(server, count):
    """The number of requests over each connection, once `count` connections have closed."""
    for _ in range(500):
        if len(server.connections) >= count:
            break
        time.sleep(0.01)
    return server.connections


@pytest.mark.parametrize("name", GOOD)
def test_one_connection_for_all_requests(serve, name):
    server = serve(stays(GOOD[name]))
    result = one(server.url, keep=True, times=5, method="POST", body="{}")
    assert "status" in result and result["failures"] == 0 and not reason(result), result
    assert ended(server, 1) == [5]
    assert not any(b"connection:" in request.lower() for request in server.requests)


def test_one_handshake_for_all_requests(serve_tls):
    server = serve_tls(stays(OK))
    result = one(server.url, keep=True, times=5, **serve_tls.trust["asyncio"])
    assert result.get("status") == 200 and result["failures"] == 0 and ended(server, 1) == [5], result


def test_a_connection_is_reused_only_on_request(serve):
    server = serve(stays(OK))
    assert one(server.url, times=3).get("status") == 200
    assert ended(server, 3) == [1, 1, 1] and all(b"\r\nConnection: close\r\n" in request for request in server.requests)


@pytest.mark.parametrize("name", LAST)
def test_a_connection_is_not_reused_if_the_reply_forbids_it(serve, name):
    server = serve(stays(LAST[name]))
    result = one(server.url, keep=True, times=3, pause_ms=20)
    assert (result.get("status"), bytes.fromhex(result["body"]), result["failures"]) == (200, b"ok", 0), result
    assert ended(server, 3) == [1, 1, 1]


def test_a_connection_is_not_reused_after_a_body_without_length_or_an_unread_body(serve):
    server = serve(b"HTTP/1.1 200 OK\r\n\r\nok")  # then the server closes the connection
    result = one(server.url, keep=True, times=3)
    assert (result.get("status"), result["failures"]) == (200, 0) and ended(server, 3) == [1, 1, 1], result
    server = serve(stays(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000))
    result = one(server.url, keep=True, times=2, most=100)
    assert reason(result) == "reply_too_large" and ended(server, 2) == [1, 1], result


def test_a_connection_that_the_server_closed_between_requests(serve, serve_tls):
    """The client notices the closed connection before it sends a request, so no request is sent twice."""
    for start, more in ((serve, {}), (serve_tls, serve_tls.trust["asyncio"])):
        server = start(OK)
        result = one(server.url, **dict(more, keep=True, times=4, pause_ms=100))
        assert (result.get("status"), result["failures"]) == (200, 0), result
        assert ended(server, 4) == [1, 1, 1, 1]


def test_a_connection_that_the_server_closes_during_a_request(serve):
    """The client repeats the request once, over another connection."""

    def answer(conn, request):
        if len(server.requests) % 2:
            conn.sendall(OK)
            return True

    server = serve(answer)
    result = one(server.url, keep=True, times=3)
    assert (result.get("status"), result["failures"]) == (200, 0), result
    assert ended(server, 3) == [2, 2, 1]
    server = serve(lambda conn, request: conn.sendall(OK) is None if len(server.requests) == 1 else None)
    result = one(server.url, keep=True, times=2)
    assert reason(result) == "os" and ended(server, 2) == [2, 1], result


def test_a_silent_server_costs_one_time_limit(serve):
    def answer(conn, request):
        if len(server.requests) == 1:
            conn.sendall(OK)
            return True
        server.pause(2)

    server = serve(answer)
    result = one(server.url, keep=True, times=2, limit_ms=300)
    assert reason(result) == "os" and result["error"][1] == errno.ETIMEDOUT and len(server.requests) == 2, result


def test_garbage_over_a_kept_connection_closes_it(serve):
    server = serve(lambda conn, request: conn.sendall(b"garbage\r\n" if len(server.requests) == 2 else OK) is None)
    result = one(server.url, keep=True, times=2)
    assert reason(result) == "http_malformed", result
    assert ended(server, 1) == [2]


def test_a_kept_connection_closes_before_another_server_is_contacted(serve):
    """A board's memory has room for one TLS connection."""
    other = serve(stays(OK))
    first = serve(
        lambda conn, request: (
            conn.sendall(b"HTTP/1.1 302 X\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % other.url.encode()) is None
        )
    )
    other.answer = lambda conn, request: (
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % len(ended(first, 1))) is None
    )
    result = one(first.url, keep=True)
    assert bytes.fromhex(result["body"]) == b"1", "the first connection was still open"
