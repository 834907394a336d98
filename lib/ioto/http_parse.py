"""Parse HTTP/1.1: URLs, lines of the head and the headers that are used (RFC 9110, 9112, 3986). Pure.

Each function parses one piece or raises UpdateError; the caller limits the length of the pieces that it reads. Lines
are bytes with their line feed.
"""

from .ascii import DIGITS, LOWER
from .errors import UpdateError

URL_BYTES = 2048
# These headers delimit or redirect the message: the reply is refused if one is invalid or has two different values.
_STRICT = " content-length content-range location transfer-encoding "
# Of these headers, the first valid value is used; of content-encoding, all. All other headers are skipped.
_LENIENT = " connection content-encoding date etag retry-after "
_COMPRESSED = "br compress deflate gzip zstd"
HEX = "0123456789abcdef"
_HOST = DIGITS + LOWER + "-._"
_TOKEN = (_HOST + "!#$%&'*+^`|~").encode()


def malformed(line):
    text = repr(bytes(line[:60]))
    return UpdateError("http_malformed", text if line[-1:] == b"\n" else "longer than %d bytes: %s" % (len(line), text))


def number(text, most=10):
    """Parse a non-negative integer of at most `most` ASCII digits; else None.

    Ten digits are more than the size of any flash needs.
    """
    return int(text) if text.isdigit() and len(text) <= most else None


# ---- urls


def parse_url(url):
    """Return (secure, host, port, target) of an absolute http or https URL; an IPv6 host without its brackets.

    UpdateError for anything ambiguous: characters outside printable ASCII, a user name, unusual hosts and ports.
    """
    text = repr(url)[:60]
    if isinstance(url, str) and len(url) > URL_BYTES:
        text = "longer than %d characters: %s" % (URL_BYTES, text)
    elif isinstance(url, str) and url and " " < min(url) and max(url) < "\x7f":
        scheme, _, rest = url.partition("#")[0].partition("://")
        scheme = scheme.lower()
        secure = scheme == "https"
        authority = rest.partition("/")[0].partition("?")[0]
        target = rest[len(authority) :]
        host, port = _host(authority.lower())
        port = number(port, 5) if port else 443 if secure else 80
        if host and port and port < 65536 and scheme in ("http", "https"):
            return secure, host, port, target if target[:1] == "/" else "/" + target
    raise UpdateError("url_invalid", text)


def _host(text):
    """(host, port) of `host`, `host:port`, `[v6]` or `[v6]:port`.

    The host is false if it is invalid, for example with the @ of a user name.
    """
    if text[:1] == "[":
        host, end, tail = text[1:].partition("]")
        before, _, port = tail.partition(":")
        good = end and not before and ":" in host and not host.strip(HEX + ":.")
    else:
        host, _, port = text.partition(":")
        good = len(host) < 254 and not host.strip(_HOST)
        for label in host.rstrip(".").split("."):
            good = good and 0 < len(label) < 64
    return good and host, port


def host_header(secure, host, port):
    if ":" in host:
        host = "[%s]" % host
    return host if port == (443 if secure else 80) else "%s:%d" % (host, port)


# ---- the head of a reply


def status(line):
    """Return the status code of `HTTP/1.x NNN ...`."""
    found = number(line[9:12]) or 0
    if (
        line[:9] not in (b"HTTP/1.0 ", b"HTTP/1.1 ")
        or line[-1] != 10
        or not 100 <= found < 600
        or line[12] not in b" \r\n"
    ):
        raise malformed(line)
    return found


def header(line, headers):
    """Put one line of the head into `headers` if its header is used.

    UpdateError if the line is not a header, or if it is a strict header that is truncated, has invalid characters or
    contradicts an earlier one. Only a strong ETag is kept: a weak one is not allowed in If-Range (RFC 9110, 13.1.5).
    """
    name, colon, value = line.partition(b":")
    name = name.lower()
    if not colon or not name or name.strip(_TOKEN):
        raise malformed(line)
    name = name.decode()
    value = value.strip()
    good = line[-1] == 10 and (not value or 31 < min(value) and max(value) < 127)
    word = " %s " % name
    if word in _STRICT:
        if not good or headers.setdefault(name, value.decode()) != value.decode():
            raise malformed(line)
    elif good and word in _LENIENT and value[:2] not in (b"W/", b"w/"):
        value = value.decode()
        if name == "content-encoding":  # a list, which may come in several lines
            value = headers.pop(name, "") + " " + value.lower()
        headers.setdefault(name, value)


def body_length(status, headers):
    """Return the length of the body in bytes; None: until the connection closes; -1: chunked.

    UpdateError if the headers contradict each other, or if the body is compressed and the reply is not a redirect.
    Other codings (identity, aws-chunked, utf-8) do not change its bytes.
    """
    if status in (204, 304):
        return 0
    length = headers.get("content-length")
    coding = headers.get("transfer-encoding")
    found = None if length is None else number(length)
    if (
        found is None
        and length is not None
        or coding is not None
        and (length is not None or coding.lower() != "chunked")
    ):
        raise UpdateError("http_malformed", headers)
    for each in _COMPRESSED.split():
        if each in headers.get("content-encoding", "") and not 300 < status < 400:
            raise UpdateError("http_malformed", "Content-Encoding: " + each)
    return -1 if coding else found
