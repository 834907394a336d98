"""HTTP: URLs compared with urllib, dates with email.utils; every byte at each position of a head."""

import hashlib

from ioto import chunked, http_date, ranges, redirect
from ioto import http_parse as http
from ioto.errors import UpdateError


def refused(function, *args):
    """The reason for the refusal, or None."""
    try:
        function(*args)
    except UpdateError as e:
        return e.reason
    return None


def outcome(function, *args):
    try:
        return repr(function(*args))
    except UpdateError as e:
        return e.reason


def digest(texts):
    seen = hashlib.sha256()
    for text in texts:
        seen.update(text.encode())
    return "".join(["%02x" % b for b in seen.digest()])


# ---- URLs

URLS = {
    "http://a": (False, "a", 80, "/"),
    "HTTPS://A.example": (True, "a.example", 443, "/"),
    "https://a.example:8443/x/y?z=1&u=http://b/#f": (True, "a.example", 8443, "/x/y?z=1&u=http://b/"),
    "http://a?q": (False, "a", 80, "/?q"),
    "http://a#f": (False, "a", 80, "/"),
    "http://a?x/y@z": (False, "a", 80, "/?x/y@z"),
    "http://a:/x": (False, "a", 80, "/x"),
    "http://192.0.2.1:65535/": (False, "192.0.2.1", 65535, "/"),
    "https://[::1]/x": (True, "::1", 443, "/x"),
    "http://[2001:DB8::192.0.2.1]:81/": (False, "2001:db8::192.0.2.1", 81, "/"),
    'http://a/\\"<>^`{|}': (False, "a", 80, '/\\"<>^`{|}'),
    "http://a.:80/": (False, "a.", 80, "/"),
}
BAD_URLS = (
    "", "a", "/x", "//a/x", "ftp://a/", "http:/a", "http:a", "://a", "http://", "http:///x", "http://?q", "http://:80/",
    "https", "http://u@a/", "http://u:p@a/", "http://a@b:80/", "http://a:0/", "http://a:65536/", "http://a:+80/",
    "http://a:8_0/", "http://a:-1/", "http://a:80:80/", "http://a:http/", "http://a..b/", "http://.a/", "http://a b/",
    "http://a/x y", "http://a/\r\nX: y", "http://a/\n", "http://a/\t", "http://a/\0", "http://a/\x7f", "http://a/\xe9",
    "http://\xe9/", "http://[::1/", "http://::1/", "http://[::1]x/", "http://[]/", "http://[a]/",
    "http://[fe80::1%25eth0]/", "http://a\\b/", "http://a%2f/", "http://" + "a" * 64 + "/",
    "http://" + "a." * 127 + "/", "http://a/" + "x" * 2040,
)  # fmt: skip


def test_urls():
    for url in URLS:
        assert http.parse_url(url) == URLS[url], (url, http.parse_url(url))
    assert http.parse_url("http://a/" + "x" * 2039)[3] == "/" + "x" * 2039


def test_invalid_urls_are_refused():
    for url in BAD_URLS + (None, 7, b"http://a/", ["http://a/"]):
        assert refused(http.parse_url, url) == "url_invalid", url


def test_every_character_in_every_part_of_a_url():
    for n in range(0x180):
        c = chr(n)
        for url in ("http://a/%s", "http://a/?%s", "http://a%sb/", "http://a:8%s/", "ht%stp://a/"):
            found = outcome(http.parse_url, url % c)
            if not 0x21 <= n < 0x7F:
                assert found == "url_invalid", (url, n)
            if found != "url_invalid":
                secure, host, port, target = http.parse_url(url % c)
                assert "@" not in host and "/" not in host and "#" not in target and " " not in target and 0 < port, (
                    url,
                    n,
                )


def test_every_port():
    for port in range(1, 66000, 7):
        found = outcome(http.parse_url, "http://a:%d/" % port)
        assert found == (repr((False, "a", port, "/")) if port < 65536 else "url_invalid"), port


def test_host_header():
    for url, header in (
        ("http://a", "a"),
        ("https://a", "a"),
        ("http://a:443", "a:443"),
        ("https://a:80", "a:80"),
        ("http://[::1]:8080", "[::1]:8080"),
        ("https://[::1]", "[::1]"),
    ):
        assert http.host_header(*http.parse_url(url)[:3]) == header, url


PATHS = ("", "/", "/a", "/a/", "/a/b/c", "/a/b/c?q=/x/y", "/?q")
STEPS = (
    "a",
    "b/",
    "./",
    "../",
    ".",
    "..",
    "../../",
    "...",
    "x.y",
    "?r=../s",
    "a//b",
    "#f",
    "/",
    "/x/./y/../z",
    "/..",
    "/./",
    "//h/p",
)


def joins():
    for path in PATHS:
        for one in STEPS:
            for two in ("",) + STEPS:
                if one[-1:] == "/" or not two:
                    yield path, one + two


def test_against_urljoin():
    from urllib.parse import urljoin

    count = 0
    for path, step in joins():
        base = "http://h.example:81" + path
        expected = outcome(http.parse_url, urljoin(base, step))
        if step.startswith("#") or step.startswith("//") and not step[2:].split("/")[0].strip("."):
            continue  # nothing but a fragment, or an empty host: refused
        if "//" in step[1:].partition("?")[0]:
            continue  # urljoin drops empty segments, RFC 3986 keeps them
        assert outcome(redirect.follow, http.parse_url(base), step) == expected, (base, step)
        count += 1
    assert count > 300


def digest_redirects():
    return digest(
        [outcome(redirect.follow, http.parse_url("http://h.example:81" + path), step) for path, step in joins()]
    )


def test_allowed_redirects():
    plain, secure = http.parse_url("http://a/x"), http.parse_url("https://a/x")
    assert redirect.follow(plain, "https://b/y") == (True, "b", 443, "/y")
    assert redirect.follow(secure, "//b:8/y") == (True, "b", 8, "/y")
    assert refused(redirect.follow, secure, "http://a/y") == "http_redirect"
    for location in ("", "#x"):
        assert refused(redirect.follow, plain, location) == "http_redirect", location
    for location in ("ftp://a/", "mailto:x", "javascript:1", "http://u@a/", "/x y", "/\xe9", "http:x", "file:///etc/x"):
        assert refused(redirect.follow, plain, location) == "url_invalid", location


def test_hosts_that_may_receive_the_token():
    urls = ["http://a/", "http://a:81/", "https://a/", "https://a:81/", "http://b/", "https://b/"]
    stays = [(x, y) for x in urls for y in urls if redirect.same_origin(http.parse_url(x), http.parse_url(y + "other"))]
    assert stays == sorted(
        [(x, x) for x in urls] + [("http://a/", "https://a/"), ("http://b/", "https://b/")], key=urls_order(urls)
    )


def urls_order(urls):
    return lambda pair: (urls.index(pair[0]), urls.index(pair[1]))


# ---- heads


def test_status_lines():
    for n in range(1000):
        found = outcome(http.status, b"HTTP/1.1 %d OK\r\n" % n)
        assert found == (str(n) if 100 <= n < 600 else "http_malformed"), n
    for line in (b"HTTP/1.0 200\r\n", b"HTTP/1.1 200 \n", b"HTTP/1.1 200\n", b"HTTP/1.1 200 Fine \xe9 Day\r\n"):
        assert http.status(line) == 200, line
    for line in (
        b"\n",
        b"\r\n",
        b"HTTP/1.1 200",
        b"HTTP/2 200 OK\r\n",
        b"HTTP/1.2 200 OK\r\n",
        b"http/1.1 200 OK\r\n",
        b"HTTP/1.1  200\r\n",
        b"HTTP/1.1 2000\r\n",
        b"HTTP/1.1 +20\r\n",
        b"HTTP/1.1 2 0\r\n",
        b"ICY 200 OK\r\n",
        b"<html>\n",
        b"HTTP/1.1\t200 OK\r\n",
        b"HTTP/1.1 200OK\r\n",
        b"\xff\xff\n",
        b"220 smtp ready\r\n",
        b"HTTP/1.1 \xb2\xb2\xb2 \n",
    ):
        assert refused(http.status, line) == "http_malformed", line


def parsed(*lines):
    headers = {}
    for line in lines:
        http.header(line, headers)
    return headers


def test_headers():
    assert parsed(b"ETag: \"a:b\"\r\n", b"X-Other: 1\r\n", b"LOCATION:/x\n", b"Content-Length:\t 5 \r\n") == {
        "etag": '"a:b"', "location": "/x", "content-length": "5"}  # fmt: skip
    assert parsed(b"Content-Length: 5\r\n", b"content-length: 5\r\n") == {"content-length": "5"}
    assert parsed(b"Server: \xff\xfe\r\n", b"X-Long: cut") == {}
    assert parsed(b"Date: a\r\n", b"date: b\r\n", b"Retry-After: \xe9\r\n", b"retry-after: 5\r\n") == {
        "date": "a",
        "retry-after": "5",
    }
    assert parsed(b'ETag: W/"1"\r\n') == parsed(b'ETag: w/"1"\r\n') == {}  # not allowed in If-Range
    for lines in (
        (b"no colon\r\n",),
        (b": x\r\n",),
        (b" folded: x\r\n",),
        (b"\tfolded\r\n",),
        (b"Content-Length : 5\r\n",),
        (b"a b: c\r\n",),
        (b"Content-Length: 5\r\n", b"Content-Length: 6\r\n"),
        (b"Location: /\xe9\r\n",),
        (b"Location: /\0\r\n",),
        (b"Location: /cut",),
        (b"Location: /x\rSet: y\r\n",),
        (b"\xff: x\r\n",),
        (b"(a): x\r\n",),
        (b"\0\n",),
    ):
        assert refused(parsed, *lines) == "http_malformed", lines


def test_every_byte_in_a_header():
    for n in range(256):
        byte = bytes([n])
        name = outcome(parsed, b"x" + byte + b"y: 1\r\n")
        token = byte in b"!#$%&'*+-.^_`|~0123456789" or byte.isalpha() and n < 128
        assert name == ("{}" if token or byte == b":" else "http_malformed"), n
        value = outcome(parsed, b"Location: x" + byte + b"y\r\n")
        assert (value != "http_malformed") == (32 <= n < 127), n
        value = outcome(parsed, b"ETag: x" + byte + b"y\r\n")
        assert (value != "{}") == (32 <= n < 127) and value != "http_malformed", n
        assert outcome(parsed, b"X-Other: x" + byte + b"y\r\n") == "{}", n


STRICT = {
    "content-length": ("5", "6"),
    "content-range": ("bytes 0-4/5", "bytes 0-4/6"),
    "location": ("/a", "/b"),
    "transfer-encoding": ("chunked", "gzip"),
}
LENIENT = {
    "content-encoding": ("identity", "aws-chunked"),
    "date": ("a", "b"),
    "etag": ('"a"', '"b"'),
    "retry-after": ("1", "2"),
}


def test_contradicting_headers():
    """Each header that the agent uses: alone, repeated, contradicted, empty, unusual, and truncated."""
    for kept, is_strict in ((STRICT, True), (LENIENT, False)):
        for name, (a, b) in kept.items():
            line, same, other = [("%s: %s\r\n" % (n, v)).encode() for n, v in ((name, a), (name.upper(), a), (name, b))]
            empty = name.encode() + b":\r\n"
            first = parsed(line)
            assert list(first) == [name], name
            for lines, fine in (
                ((line, same, same), True),
                ((line, other), False),
                ((other, line), False),
                ((line, empty), False),
                ((line, name.encode() + b": \xff\r\n"), False),
                ((line, name.encode() + b": " + b"x" * 2000), False),
            ):
                found = outcome(parsed, *lines)
                if fine or not is_strict:
                    assert found != "http_malformed" and name in found, (name, lines, found)
                else:
                    assert found == "http_malformed", (name, lines, found)
            if not is_strict and name != "content-encoding":
                assert parsed(line, other) == parsed(line, name.encode() + b": \xff\r\n") == first, name


def test_messages_for_overlong_lines():
    for function, args, limit in (
        (parsed, (b"Location: /" + b"x" * 2293,), "2304"),
        (http.status, (b"HTTP/1.1 200 " + b"x" * 100,), "113"),
        (chunked.chunk_size, (b"5;" + b"x" * 254,), "256"),
        (http.parse_url, ("http://a/" + "x" * 2040,), "2048"),
    ):
        try:
            function(*args)
        except UpdateError as e:
            assert "longer than %s " % limit in str(e), e
        else:
            raise AssertionError(args)


def test_body_lengths():
    length = {"content-length": "5"}
    in_chunks = {"transfer-encoding": "Chunked"}
    assert http.body_length(200, length) == 5
    assert http.body_length(200, {"content-length": "0"}) == 0
    assert http.body_length(200, {"content-length": "0" * 9 + "7", "content-encoding": "identity"}) == 7
    assert http.body_length(200, in_chunks) == -1
    assert http.body_length(200, {}) is None
    for status in (204, 304):
        for headers in (length, in_chunks, {}):
            assert http.body_length(status, headers) == 0
    for value in ("", "-1", "+1", "1.0", "0x5", "5, 5", "5 5", "1e3", "12345678901", "five", "_5", "5_0"):
        assert refused(http.body_length, 200, {"content-length": value}) == "http_malformed", value
    for value in ("", "gzip", "gzip, chunked", "chunked, chunked", "identity", "xchunked"):
        assert refused(http.body_length, 200, {"transfer-encoding": value}) == "http_malformed", value
    assert refused(http.body_length, 200, {"content-length": "5", "transfer-encoding": "chunked"}) == "http_malformed"
    for coding in ("gzip", "x-gzip", "deflate", "br", "zstd", "compress", "aws-chunked,gzip"):
        headers = parsed(b"Content-Length: 5\r\n", b"Content-Encoding: " + coding.upper().encode() + b"\r\n")
        assert refused(http.body_length, 200, headers) == refused(http.body_length, 404, headers) == "http_malformed", (
            coding
        )
        assert http.body_length(302, headers) == 5 and http.body_length(304, headers) == 0  # these bodies are not read
    for lines in (
        (b"aws-chunked",),
        (b"",),
        (b"identity", b"aws-chunked"),
        (b"utf-8",),
        (b"binary", b"none"),
        (b"\xff",),
    ):
        headers = parsed(b"Content-Length: 5\r\n", *[b"Content-Encoding: " + line + b"\r\n" for line in lines])
        assert http.body_length(200, headers) == 5, lines
    headers = parsed(b"Content-Encoding: aws-chunked\r\n", b"Content-Encoding: gzip\r\n")
    assert refused(http.body_length, 200, headers) == "http_malformed"


def test_chunk_sizes():
    for n in list(range(5000)) + [0xFFFFFFFF]:
        assert (
            chunked.chunk_size(b"%x\r\n" % n)
            == n
            == chunked.chunk_size(b'00%X ; a="b;c"\r\n' % n if n < 65536 else b"%X\n" % n)
        ), n
    for line in (
        b"\r\n",
        b"\n",
        b";x\r\n",
        b"g\r\n",
        b"-1\r\n",
        b"+1\r\n",
        b"0x1\r\n",
        b"1 1\r\n",
        b"123456789\r\n",
        b"1",
        b"1_0\r\n",
        b"\xff\n",
    ):
        assert refused(chunked.chunk_size, line) == "http_malformed", line


# ---- header values


def test_content_range():
    size = 12
    for first in range(size + 2):
        for last in range(size + 2):
            for total in range(size + 2):
                found = ranges.content_range("bytes %d-%d/%d" % (first, last, total))
                assert found == ((first, last, total) if first <= last < total else None), (first, last, total)
            assert ranges.content_range("bytes %d-%d/*" % (first, last)) == (
                (first, last, None) if first <= last else None
            )
    assert ranges.content_range(" Bytes 0-0/1 ") == (0, 0, 1)
    for text in (
        "",
        "bytes",
        "bytes */5",
        "bytes 0-1/**",
        "bytes */*",
        "bytes=0-1/5",
        "bytes 0-1",
        "0-1/5",
        "items 0-1/5",
        "bytes -1/5",
        "bytes 0-/5",
        "bytes 0-1/5/6",
        "bytes 0-1-2/5",
        "bytes  0-1/5x",
        "bytes 0 -1/5",
        "bytes 0-1/-5",
        "bytes 0-1/12345678901",
        "bytes +0-1/5",
    ):
        assert ranges.content_range(text) is None, text


DATE = "Sun, 06 Nov 1994 08:49:37 GMT"


def test_dates():
    assert http_date.http_date(DATE) == 784111777
    for text in (
        "",
        "x",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49 GMT",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 GMT x",
        "Sun, 6x Nov 1994 08:49:37 GMT",
        "Sun, 06 ovD 1994 08:49:37 GMT",
        "Sun, 06 NovDec 1994 08:49:37 GMT",
        "Sun, 06 nov 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 32 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1969 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 1994 -8:49:37 GMT",
    ):
        assert http_date.http_date(text) is None, text


def test_against_email_dates():
    from email.utils import formatdate

    for day in range(0, 200 * 366, 1):
        unix_s = day * 86400 + day * 9973 % 86400
        assert http_date.http_date(formatdate(unix_s, usegmt=True)) == unix_s, unix_s


def digest_cut_dates():
    return digest(
        [repr(http_date.http_date(DATE[:i] + DATE[j:])) for i in range(len(DATE)) for j in range(i, len(DATE) + 1)]
    )


def test_retry_after():
    assert http_date.retry_after("120", None) == 120
    assert http_date.retry_after("0", 5) == 0
    assert http_date.retry_after(DATE, 784111777 - 60) == 60
    assert http_date.retry_after(DATE, 784111777 + 60) == 0
    for text, now_s in ((DATE, None), ("", 5), ("soon", 5), ("-5", 5), ("1.5", 5), ("12345678901", 5)):
        assert http_date.retry_after(text, now_s) is None, text
