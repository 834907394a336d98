"""Replies of hostile, broken and unusual servers, and the client's results, over both transports."""

import json
import random

import pytest
from loopback import one, reason, run

TRANSPORTS = ("asyncio", "urequests")
OK = b"HTTP/1.1 200 OK\r\n"
LONG = b"x" * 3000
# name: (reply, (status, body) or the reason for the refusal, the result of `requests` if it differs)
REPLIES = {
    "plain": (OK + b"Content-Length: 5\r\n\r\nhello", (200, b"hello")),
    "old": (b"HTTP/1.0 200 OK\nContent-Length: 5\n\nhello", (200, b"hello"), "http_malformed"),
    "more than announced": (OK + b"Content-Length: 5\r\n\r\nhello world", (200, b"hello")),
    "less than announced": (OK + b"Content-Length: 6\r\n\r\nhello", "os"),
    "nothing of it": (OK + b"Content-Length: 6\r\n\r\n", "os"),
    "empty": (OK + b"Content-Length: 0\r\n\r\n", (200, b"")),
    "to the end": (OK + b"\r\nhello", (200, b"hello"), "http_malformed"),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"")),
    "no content, with a length": (b"HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\nsurprise!", (204, b"")),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", (304, b"")),
    "html": (OK + b"Content-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>", (200, b"<html>")),
    "unauthorized": (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno", (401, b"no")),
    "not found": (b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", (404, b"no")),
    "busy": (b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\nno", (429, b"no")),
    "broken": (b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno", (500, b"no")),
    "partial": (b"HTTP/1.1 206 P\r\nContent-Range: bytes 1-2/5\r\nContent-Length: 2\r\n\r\nel", (206, b"el")),
    "continue": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok",
        (200, b"ok"),
        "http_malformed",
    ),
    "nothing but continue": (b"HTTP/1.1 100 Continue\r\n\r\n" * 2000, "http_malformed"),
    "nothing": (b"", "os", "http_malformed"),
    "not http": (b"220 smtp.example ready\r\n\r\n", "http_malformed"),
    "binary": (bytes(range(128, 256)) * 4, "os", "http_malformed"),
    "another version": (b"HTTP/2 200 OK\r\nContent-Length: 5\r\n\r\nhello", "http_malformed", (200, b"hello")),
    "status 99": (b"HTTP/1.1 99 OK\r\nContent-Length: 5\r\n\r\nhello", "http_malformed"),
    "status 999": (b"HTTP/1.1 999 OK\r\nContent-Length: 5\r\n\r\nhello", "http_malformed"),
    "endless status": (b"HTTP/1.1 200 " + b"x" * 50000, "http_malformed"),
    "long header we don't keep": (OK + b"CSP: " + LONG + b"\r\nContent-Length: 2\r\n\r\nok", (200, b"ok")),
    "long header we keep": (OK + b"Content-Length: 2\r\nETag: " + LONG + b"\r\n\r\nok", (200, b"ok")),
    "two dates": (
        OK
        + b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nDate: Sun, 06 Nov 1994 08:49:38 GMT\r\nContent-Length: 2\r\n\r\nok",
        (200, b"ok"),
    ),
    "odd headers": (
        OK + b"Date: \xff\r\nETag: a\r\nETag: b\r\nRetry-After:\r\nRetry-After: 5\r\nContent-Length: 2\r\n\r\nok",
        (200, b"ok"),
    ),
    "codings that change no byte": (
        OK + b"Content-Encoding: aws-chunked\r\nContent-Encoding:\r\nContent-Length: 2\r\n\r\nok",
        (200, b"ok"),
    ),
    "two ranges": (
        b"HTTP/1.1 206 P\r\nContent-Range: bytes 1-2/5\r\nContent-Range: bytes 1-2/6\r\nContent-Length: 2\r\n\r\nel",
        "http_malformed",
    ),
    "endless header": (OK + b"X: " + b"x" * 50000, "http_malformed", "os"),
    "endless headers": (OK + b"Content-Length: 2\r\n" + b"X: y\r\n" * 20000 + b"\r\nok", "http_malformed"),
    "no colon": (OK + b"Content-Length 5\r\n\r\nhello", "http_malformed"),
    "folded": (OK + b"Content-Length: 5\r\n more\r\n\r\nhello", "http_malformed"),
    "length twice": (OK + b"Content-Length: 5\r\ncontent-length: 5\r\n\r\nhello", (200, b"hello")),
    "two lengths": (OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", "http_malformed"),
    "negative": (OK + b"Content-Length: -5\r\n\r\nhello", "http_malformed"),
    "plus": (OK + b"Content-Length: +5\r\n\r\nhello", "http_malformed"),
    "huge": (OK + b"Content-Length: 99999999999\r\n\r\nhello", "http_malformed"),
    "compressed": (OK + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello", "http_malformed"),
    "length and chunked": (OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "http_malformed"),
    "unknown coding": (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "http_malformed"),
}
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
CHUNKS = {
    "one": (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    "empty": (b"0\r\n\r\n", b""),
    "two": (b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", b"hello"),
    "bytes": (b"".join(b"1\r\n%c\r\n" % c for c in b"hello" * 100) + b"0\r\n\r\n", b"hello" * 100),
    "upper case and zeros": (b"000A\r\n0123456789\r\n00\r\n\r\n", b"0123456789"),
    "extensions": (b'5;a=b;c="d"\r\nhello\r\n0;x\r\n\r\n', b"hello"),
    "trailers": (b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nContent-Length: 99\r\n\r\n", b"hello"),
    "line feeds": (b"5\nhello\r\n0\n\n", b"hello"),
    "line feed after a chunk": (b"5\nhello\n0\n\n", "http_malformed"),
    "larger than the buffer": (b"2710\r\n" + b"x" * 10000 + b"\r\n0\r\n\r\n", b"x" * 10000),
    "no end": (b"5\r\nhello\r\n", "os"),
    "no last line": (b"5\r\nhello\r\n0\r\n", "os"),
    "cut in a chunk": (b"5\r\nhel", "os"),
    "cut in a size": (b"5", "os"),
    "longer than it says": (b"4\r\nhello\r\n0\r\n\r\n", "http_malformed"),
    "shorter than it says": (b"6\r\nhello\r\n0\r\n\r\n", "http_malformed"),
    "no size": (b"\r\nhello\r\n0\r\n\r\n", "http_malformed"),
    "no number": (b"five\r\nhello\r\n0\r\n\r\n", "http_malformed"),
    "negative": (b"-5\r\nhello\r\n0\r\n\r\n", "http_malformed"),
    "nine digits": (b"100000005\r\nhello\r\n0\r\n\r\n", "http_malformed"),
    "endless extension": (b"5;" + b"x" * 3000 + b"\r\nhello\r\n0\r\n\r\n", "http_malformed"),
    "endless trailers": (b"5\r\nhello\r\n0\r\n" + b"X: y\r\n" * 20000, "http_malformed"),
    "bad trailer": (b"5\r\nhello\r\n0\r\nno colon\r\n\r\n", "http_malformed"),
}


def verdict(result):
    """The reason for a refusal, or (status, body), as in REPLIES."""
    return reason(result) or (result["status"], bytes.fromhex(result["body"]))


def table(serve):
    """One server for all replies: the path is the index in the table."""
    replies = [reply for reply, *_ in REPLIES.values()] + [CHUNKED + chunks for chunks, _ in CHUNKS.values()]

    def answer(conn, request):
        conn.sendall(replies[int(request.split(b" ")[1][1:])])

    return serve(answer)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_replies(serve, transport):
    server = table(serve)
    results = run([{"url": "%s/%d" % (server.url, n), "transport": transport} for n in range(len(REPLIES))])
    wrong = {}
    for (name, (_, *expected)), result in zip(REPLIES.items(), results):
        if verdict(result) != expected[-1 if transport == "urequests" else 0]:
            wrong[name] = result
    assert not wrong
    kept = dict(zip(REPLIES, results))
    assert kept["busy"]["headers"]["retry-after"] == "7"
    assert kept["partial"]["headers"]["content-range"] == "bytes 1-2/5"


def test_chunked(serve):
    server = table(serve)
    for read in (1, 3, 4096):
        results = run([{"url": "%s/%d" % (server.url, len(REPLIES) + n), "read": read} for n in range(len(CHUNKS))])
        for (name, (_, expected)), result in zip(CHUNKS.items(), results):
            assert verdict(result) == ((200, expected) if isinstance(expected, bytes) else expected), (
                name,
                read,
                result,
            )


def test_urequests_refuses_chunked(serve):
    assert reason(one(serve(CHUNKED + b"0\r\n\r\n").url, transport="urequests")) == "http_malformed"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_buffer_is_filled(serve, transport):
    body = bytes(range(256)) * 50

    def answer(conn, request):
        conn.sendall(OK + b"Content-Length: %d\r\n\r\n" % len(body))
        for i in range(0, len(body), 1000):
            conn.sendall(body[i : i + 1000])
            server.pause(0.001)

    server = serve(answer)
    for read in (1, 999, 4096, 12800, 20000):
        result = one(server.url, transport=transport, read=read)
        assert bytes.fromhex(result["body"]) == body
        assert result["reads"] == [read] * (len(body) // read) + [len(body) % read] * bool(len(body) % read) + [0]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_headers_and_body_that_are_sent(serve_tls, transport):
    server = serve_tls(OK + b"Content-Length: 2\r\n\r\n{}")
    url = server.url + "/tok/x?a=b&c=%20d"
    result = one(
        url + "#f",
        method="POST",
        headers={"Authorization": "bearer x"},
        body='{"a": 1}',
        transport=transport,
        **serve_tls.trust[transport],
    )
    assert verdict(result) == (200, b"{}")
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    assert first.split(b" ")[:2] == [b"POST", b"/tok/x?a=b&c=%20d"] and body == b'{"a": 1}'
    expected = {
        b"Host: 127.0.0.1:%d" % server.port,
        b"Authorization: bearer x",
        b"Content-Length: 8",
        b"Connection: close",
    }
    assert expected <= set(lines) and len(lines) == len(set(line.split(b":")[0].lower() for line in lines))


def test_line_breaks_in_headers_and_urls_are_refused(serve):
    server = serve(OK + b"Content-Length: 0\r\n\r\n")
    for value in ("x\r\nEvil: 1", "x\nEvil: 1", "x\rEvil: 1"):
        assert reason(one(server.url, headers={"Range": value})) == "http_malformed", value
        assert reason(one(server.url, headers={value: "1"})) == "http_malformed", value
    for path in ("/\r\nEvil: 1", "/a b", "/\xe9"):
        assert reason(one(server.url + path)) == "url_invalid", path
    assert not server.requests


def test_read_body_has_a_limit(serve):
    for head in (b"Content-Length: 1000\r\n\r\n", b"\r\n"):
        server = serve(OK + head + b"x" * 1000)
        assert reason(one(server.url, most=999)) == "reply_too_large", head
        assert bytes.fromhex(one(server.url, most=1000)["body"]) == b"x" * 1000, head
    server = serve(CHUNKED + b"3e8\r\n" + b"x" * 1000 + b"\r\n0\r\n\r\n")
    assert reason(one(server.url, most=999)) == "reply_too_large"
    assert bytes.fromhex(one(server.url, most=1000)["body"]) == b"x" * 1000


# urequests refuses chunked replies
@pytest.mark.parametrize(
    "transport,chunked", [(t, c) for t in TRANSPORTS for c in (False, True) if not (c and t == "urequests")]
)
def test_cut_at_every_byte(serve, transport, chunked):
    """A truncated reply is never accepted as a complete one."""
    body = json.dumps({"url": "https://cdn.example/x"}).encode()
    reply = OK + b'ETag: "1"\r\nContent-Length: %d\r\n\r\n' % len(body) + body
    if chunked:
        reply = CHUNKED + b"5\r\n" + body[:5] + b"\r\n%x;x=y\r\n" % len(body[5:]) + body[5:] + b"\r\n0\r\nX: y\r\n\r\n"

    def answer(conn, request):
        conn.sendall(reply[: int(request.split(b" ")[1][1:])])

    server = serve(answer)
    results = run([{"url": "%s/%d" % (server.url, n), "transport": transport} for n in range(len(reply) + 1)])
    assert verdict(results.pop()) == (200, body)
    # `requests` treats the end of the connection as the end of the head, or as a status line without a number.
    allowed = ("os",) if transport == "asyncio" else ("os", "http_malformed")
    assert {n: r for n, r in enumerate(results) if reason(r) not in allowed} == {}


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_garbage(serve, transport):
    """Random bytes, and a good reply with random bytes in it, give a result or a refusal."""
    seed = 20240229
    source = random.Random(seed)
    good = OK + b"Content-Length: 5\r\nETag: x\r\n\r\nhello"
    replies = []
    for n in range(150):
        corrupted = bytearray(good)
        for _ in range(source.randint(1, 4)):
            corrupted[source.randrange(len(corrupted))] = source.randrange(256)
        replies += [
            bytes(corrupted),
            source.randbytes(source.randrange(200)),
            CHUNKED + source.randbytes(source.randrange(60)),
        ]

    def answer(conn, request):
        conn.sendall(replies[int(request.split(b" ")[1][1:])])

    server = serve(answer)
    results = run(
        [{"url": "%s/%d" % (server.url, n), "transport": transport, "limit_ms": 500} for n in range(len(replies))]
    )
    allowed = (None, "os", "http_malformed", "http_redirect")
    assert [(n, replies[n], r, seed) for n, r in enumerate(results) if reason(r) not in allowed] == []
    assert all(r["status"] >= 200 for r in results if not reason(r))
