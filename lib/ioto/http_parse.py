"""The text of HTTP/1.1: urls, head lines, chunk sizes and the headers we read (RFC 9110, 9112, 3986). Pure.

Every function takes one piece and answers with its meaning, or raises UpdateError: whoever reads the socket decides
how much it takes. Lines are bytes and end with their line feed.
"""

from .errors import UpdateError
from .timezone import days

URL_BYTES = 2048
# What of a reply's head is kept; the rest is read over.
_KEPT = (
    b"content-encoding", b"content-length", b"content-range", b"etag", b"location", b"retry-after", b"transfer-encoding",
)  # fmt: skip
_HOST = "abcdefghijklmnopqrstuvwxyz0123456789-._"
_TOKEN = (_HOST + "!#$%&'*+^`|~").encode()
_HEX = "0123456789abcdef"


def _bad(what, text):
    return UpdateError("url_invalid", "%s %r" % (what, text[:40]))


def malformed(line):
    return UpdateError("http_malformed", repr(bytes(line[:60])))


def number(text, most=10):
    """A non-negative integer of at most `most` ASCII digits, else None; ten are more bytes than any flash holds."""
    return int(text) if text.isdigit() and len(text) <= most else None


# ---- urls


def parse_url(url):
    """(secure, host, port, target) of an absolute http or https url; an IPv6 host comes without its brackets.

    Refuses whatever could be read in two ways: characters outside printable ASCII, a user name, odd hosts and ports.
    """
    if not isinstance(url, str) or len(url) > URL_BYTES:
        raise UpdateError("url_invalid", "no text of up to %d" % URL_BYTES)
    for c in url:
        if not "!" <= c <= "~":
            raise _bad("encode %r in" % c, url)
    scheme, _, rest = url.partition("#")[0].partition("://")
    secure = scheme.lower() == "https"
    if not secure and scheme.lower() != "http":
        raise _bad("neither http:// nor https://", url)
    authority = rest.partition("/")[0].partition("?")[0]
    target = rest[len(authority) :]
    host, tail = _host(authority)
    port = number(tail[1:], 5) if len(tail) > 1 else 443 if secure else 80
    if tail[:1] not in ("", ":") or not port or port > 65535:
        raise _bad("port", url)
    return secure, host, port, target if target[:1] == "/" else "/" + target


def _host(authority):
    """(host, what follows it) of `host`, `host:port`, `[v6]` or `[v6]:port`."""
    text = authority.lower()
    if text[:1] == "[":
        host, end, tail = text[1:].partition("]")
        good = end and ":" in host and not host.strip(_HEX + ":.")
    else:
        host, colon, tail = text.partition(":")
        tail = colon + tail
        good = len(host) < 254 and not host.strip(_HOST)
        for label in host.rstrip(".").split("."):
            good = good and 0 < len(label) < 64
    if not good:
        raise _bad("host", authority)  # a user name ends here too: no host has an @
    return host, tail


def host_header(secure, host, port):
    if ":" in host:
        host = "[%s]" % host
    return host if port == (443 if secure else 80) else "%s:%d" % (host, port)


def follow(url, location):
    """Where a redirect from `url` (as of parse_url) leads; UpdateError http_redirect where we do not go."""
    location = location.partition("#")[0]
    if not location:
        raise UpdateError("http_redirect", "no Location")
    here = "http%s://%s" % ("s" if url[0] else "", host_header(*url[:3]))
    path = url[3].partition("?")[0]
    if location[:2] == "//":
        location = here.partition("/")[0] + location
    elif location[0] == "?":
        location = here + path + location
    elif location[0] == "/":
        location = here + _undotted(location)
    elif ":" not in location.partition("/")[0].partition("?")[0]:
        location = here + _undotted(path[: path.rfind("/") + 1] + location)
    found = parse_url(location)
    if url[0] and not found[0]:
        raise UpdateError("http_redirect", "from https to http")
    return found


def _undotted(target):
    """The path without its `.` and `..` (RFC 3986, 5.2.4)."""
    path, mark, query = target.partition("?")
    out = []
    for part in path[1:].split("/"):
        dots = part in (".", "..")
        if part == "..":
            out = out[:-1]
        elif not dots:
            out.append(part)
    return "/" + "/".join(out) + ("/" if dots and out else "") + mark + query


def same_origin(url, other):
    """May `other` have the Authorization that was meant for `url`? Same scheme, host and port, or the step up to https."""
    return url[:3] == other[:3] or (url[1] == other[1] and url[2] == 80 and other[0] and other[2] == 443)


# ---- the head of a reply


def status(line):
    """Status number of `HTTP/1.x NNN ...`."""
    found = number(line[9:12])
    if (
        line[:9] not in (b"HTTP/1.0 ", b"HTTP/1.1 ") or line[-1] != 10 or not found or not 100 <= found < 600
        or line[12] not in b" \r\n"
    ):  # fmt: skip
        raise malformed(line)
    return found


def header(line, headers):
    """Put one head line into `headers` if we keep it; UpdateError for a bad line or a second, other value.

    Only a line that we do not keep may be without its end.
    """
    name, colon, value = line.partition(b":")
    name = name.lower()
    if not colon or not name or name.strip(_TOKEN):
        raise malformed(line)
    if name in _KEPT:
        value = value.strip()
        for c in value:
            if not 32 <= c < 127:
                raise malformed(line)
        name = name.decode()
        value = value.decode()
        if line[-1] != 10 or headers.get(name, value) != value:
            raise malformed(line)
        headers[name] = value


def body_length(status, headers):
    """Bytes of the body; None: until the connection closes; -1: chunked. UpdateError where the head contradicts itself."""
    length = headers.get("content-length")
    coding = headers.get("transfer-encoding")
    found = None if length is None else number(length)
    if (
        headers.get("content-encoding", "identity").lower() != "identity"
        or found is None and length is not None
        or coding is not None and (length is not None or coding.lower() != "chunked")
    ):  # fmt: skip
        raise UpdateError("http_malformed", "length or coding %r" % headers)
    if status in (204, 304):
        return 0
    return -1 if coding else found


def chunk_size(line):
    """Bytes of the chunk that a size line announces; its extensions are skipped."""
    digits = line.partition(b";")[0].strip().lower()
    if not 0 < len(digits) <= 8 or digits.strip(_HEX.encode()) or line[-1] != 10:
        raise malformed(line)
    return int(digits, 16)


def content_range(text):
    """(first, last, total) of `bytes F-L/T`, or None for anything else (unknown total, unsatisfied, contradictory)."""
    unit, _, rest = text.strip().partition(" ")
    span, _, total = rest.partition("/")
    first, _, last = span.partition("-")
    first, last, total = number(first), number(last), number(total)
    if unit.lower() != "bytes" or None in (first, last, total) or not first <= last < total:
        return None
    return first, last, total


def http_date(text):
    """Unix seconds of an IMF-fixdate (`Sun, 06 Nov 1994 08:49:37 GMT`), else None."""
    parts = text.replace(":", " ").split()
    month = "JanFebMarAprMayJunJulAugSepOctNovDec".find(parts[2]) if len(parts) == 8 else 1
    if month % 3 or len(parts[2]) != 3 or parts[7] != "GMT":
        return None
    day, year, h, m, s = [number(parts[i], 4) for i in (1, 3, 4, 5, 6)]
    if None in (day, year, h, m, s) or not (0 < day < 32 and year > 1969 and h < 24 and m < 60 and s < 61):
        return None
    return ((days(year, month // 3 + 1, day) * 24 + h) * 60 + m) * 60 + s


def retry_after(text, now_s):
    """Seconds to stay away: a number, or a date seen from `now_s` (None: no clock); None where it says neither."""
    found = number(text)
    if found is None and now_s is not None:
        found = http_date(text)
        if found is not None:
            found = max(0, found - now_s)
    return found
