"""HTTP/1.1 client: one request, one reply, with a limit on every length and every wait.

OSError: no connection, no reply in time, or a truncated reply. UpdateError: an invalid reply or URL.
"""

from asyncio import sleep_ms
from errno import ECONNRESET, ETIMEDOUT

from .errors import UpdateError, idf_heap
from .http_parse import body_length, header, host_header, parse_url, status
from .net import connect
from .parts import Part
from .reserve import END_MS, free

_REDIRECTS = 5
_LINE_BYTES = 2304  # longest header line that is kept: a URL of 2048 bytes and the header's name
_HEAD_BYTES = 16384  # all lines of a head, including preceding 1xx replies; also for the trailers of a body
_ALWAYS = "User-Agent: ioto\r\nAccept-Encoding: identity\r\n"


class Client:
    """HTTP client. `context` is a verifying tls.SSLContext (certs.py), or None to refuse https; `plain` allows http.

    `limit_ms` applies separately to connecting, to handshake and request, to the head of the reply, and to every
    readinto. With `keep`, one connection is reused for requests to the same scheme, host and port until close() or
    until the server closes it.
    """

    def __init__(self, resolver, context=None, limit_ms=20000, plain=False):
        self._resolver = resolver
        self.plain = plain
        self.context = context
        self.limit_ms = limit_ms
        self.keep = False
        self.kept = None  # a Connection whose last reply was read to the end

    def request(self, method, url, headers=None, body=None):  # async
        """Return the Response, after up to five redirects. `headers` are sent unchanged; `body` is bytes or None."""
        return follow_redirects(self._once, self.plain, method, url, headers, body)

    async def _once(self, method, url, headers, body):
        secure, host, port, _ = url
        if secure and not self.context:
            raise UpdateError("tls_unverified", "no tls.ca")
        sent = request_head(method, url, headers, body, self.keep) + (body or b"")
        response = await self._again(url[:3], sent)
        if response:
            return response
        address = await self._resolver.address(host)
        connection = before = None
        try:
            connection = connect(address, port, self.limit_ms)
            connection.origin = url[:3]
            await connection.wait(True)
            if secure:
                free()
                await sleep_ms(END_MS)
                before = idf_heap()
                connection.secure(self.context, host)
            response = await self._exchange(connection, sent)
        except (ValueError, OSError) as e:
            if not isinstance(e, ValueError):
                self._resolver.forget(host)
            with Part():
                from .faults import refusal

                e = refusal(e, secure, before)
            raise e
        finally:
            if connection and not response:
                connection.close()
        return response

    async def _again(self, origin, sent):
        """Return the Response over the kept connection.

        None if there is no connection to `origin` or the server has closed it: the caller then sends the request over
        a new connection. An unusable connection is closed: two TLS connections do not fit into memory.
        """
        kept = self.kept
        self.kept = response = None
        if kept:
            try:
                if kept.origin == origin and kept.is_idle():
                    response = await self._exchange(kept, sent)
            except OSError as e:
                if e.errno == ETIMEDOUT:
                    raise
            finally:
                if not response:
                    kept.close()
        return response

    async def _exchange(self, connection, sent):
        connection.begin()
        await connection.write(sent)
        connection.begin()
        response = await read_head(connection)
        if self.keep:
            response.client = self
        return response

    def close(self):
        """Close the kept connection, if any."""
        if self.kept:
            self.kept.close()
            self.kept = None


async def follow_redirects(once, plain, method, url, headers, body):
    """Call `once(method, parsed url, headers, body)` until the reply is not a redirect.

    Plain http is allowed only with `plain`, and Authorization is never sent over it: anyone who reads the token can act
    as the device.
    """
    here = parse_url(url)
    headers = dict(headers or {})
    for _ in range(_REDIRECTS + 1):
        if not here[0]:
            if not plain:
                raise UpdateError("tls_unverified", "plain http")
            headers.pop("Authorization", None)
        reply = await once(method, here, headers, body)
        if reply.status not in (301, 302, 303, 307, 308):
            return reply
        await reply.close()
        with Part():
            from .redirect import redirected

            method, here, body = redirected(reply, here, method, headers, body)
    raise UpdateError("http_redirect", "more than %d" % _REDIRECTS)


def request_head(method, url, headers, body, keep=False):
    """Return the bytes of a request up to its body; UpdateError for a header that contains a line break."""
    head = "%s %s HTTP/1.1\r\nHost: %s\r\n%s" % (method, url[3], host_header(*url[:3]), _ALWAYS)
    if not keep:
        head += "Connection: close\r\n"
    if body is not None:
        head += "Content-Length: %d\r\n" % len(body)
    for name in headers:
        line = "%s: %s" % (name, headers[name])
        if "\r" in line or "\n" in line:
            raise UpdateError("http_malformed", "line break in " + name)
        head += line + "\r\n"
    return (head + "\r\n").encode()


async def read_head(connection):
    """Read the next head and return its Response, skipping 1xx replies."""
    left = _HEAD_BYTES
    found = 100
    while found < 200:
        line = await connection.readline(_LINE_BYTES)
        found = status(line)
        headers = {"connection": "close"} if line[7] == 48 else {}  # HTTP/1.0
        left = await read_headers(connection, headers, left - len(line))
    return Response(connection, found, headers)


async def read_headers(connection, headers, left=_HEAD_BYTES):
    """Read header lines into `headers` up to the empty line; returns how many of the `left` bytes remain."""
    begins = True
    while True:
        line = await connection.readline(_LINE_BYTES)
        left -= len(line)
        if left < 0:
            raise UpdateError("http_malformed", "head longer than %d bytes" % _HEAD_BYTES)
        if begins:
            if line in (b"\r\n", b"\n"):
                return left
            header(line, headers)
        begins = line[-1] == 10  # otherwise the next piece continues an overlong line, which is not kept


class Response:
    """A reply.

    `status`: the number. `headers`: those that the agent uses, with lower-case names. `length`: of the body in bytes,
    None if unknown. readinto() waits only while there is nothing to read, so a loop that calls nothing else must yield
    by itself.
    """

    def __init__(self, connection, status, headers):
        self.connection = connection
        self.client = None  # the Client that keeps the connection for reuse
        self.status = status
        self.headers = headers
        length = body_length(status, headers)
        self.chunked = length == -1
        self.length = None if self.chunked else length
        self.left = 0 if self.chunked else length  # bytes left of the body, or of the current chunk
        # Bytes that ready() has read into the buffer for the next readinto(); None: no data yet; -1: not called.
        self._had = -1
        self.begun = False  # a chunk was read, but not yet the line break after it

    def ready(self, buf):
        """Fill `buf` without waiting or allocating if all its data has arrived; returns whether `buf` is full.

        If it is not, call readinto() with the same buffer.
        """
        left = self.left
        if self.chunked or left is None or left < len(buf):
            return False
        self._had = n = self.connection.s.readinto(buf)
        if n != len(buf):
            return False
        self._had = -1
        self.left = left - n
        return True

    def readinto(self, buf):  # async
        """Fill `buf` (a memoryview) within the limit and return the count.

        It is less than the length of `buf` only at the end of the body, and 0 after it.
        """
        if self.chunked:
            from .chunked import readinto

            return (yield from readinto(self, buf, read_headers))
        left = self.left
        if left is not None and left <= len(buf):
            if not left:
                return 0
            buf = buf[:left]
        n = self._had
        self._had = -1
        if n == -1:
            n = self.connection.s.readinto(buf)
        if n != len(buf):
            self.connection.begin()
            n = yield from self.connection.fill(buf, n)
        if left is not None:
            self.left = left - n
            if n < len(buf):
                raise OSError(ECONNRESET, "%d bytes are missing" % self.left)
        return n

    async def close(self):
        if (
            self.client
            and self.left == 0
            and not self.chunked
            and "close" not in self.headers.get("connection", "").lower()
        ):
            self.client.kept = self.connection
        else:
            self.connection.close()


async def read_body(response, most):
    """Return the whole body as bytes; UpdateError reply_too_large above `most` bytes."""
    size = response.length
    buf = memoryview(bytearray(most + 1 if size is None or size > most else size))
    n = await response.readinto(buf)
    if n > most:
        raise UpdateError("reply_too_large", "more than %d bytes" % most)
    return bytes(buf[:n])
