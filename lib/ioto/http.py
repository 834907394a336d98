"""HTTP/1.1 client: one request, one reply, with a limit on every length and every wait.

OSError: no connection, no answer in time, an answer cut short. UpdateError: an answer, or a url, that will not do.
"""

from asyncio import sleep_ms
from errno import ECONNRESET, ETIMEDOUT

from .errors import UpdateError
from .http_parse import body_length, header, host_header, parse_url, status
from .net import connect
from .parts import Part
from .reserve import END_MS, free, idf_heap

_REDIRECTS = 5
_LINE_BYTES = 2304  # of a header that is kept: a url of 2048 and its name
HEAD_BYTES = 16384  # all lines of a head, those before it (1xx) and the trailers of a body
_ALWAYS = "User-Agent: ioto\r\nAccept-Encoding: identity\r\n"


class Client:
    """`resolver` of net.Resolver; `context` a tls.SSLContext that verifies (certs.py), None refuses https; `plain` allows http.

    `limit_ms` stands around each of: connecting, handshake and request, head of the reply, every readinto. With `keep` one
    connection is used again for requests to the same scheme, host and port, as long as its server wants: until close().
    """

    def __init__(self, resolver, context=None, limit_ms=20000, plain=False):
        self._resolver = resolver
        self.plain = plain
        self.context = context
        self.limit_ms = limit_ms
        self.keep = False
        self.kept = None  # a Connection, its last reply read to the end

    def request(self, method, url, headers=None, body=None):  # async
        """The Response, after up to five redirects; `headers` are sent as they are, `body` is bytes or None."""
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
        """The Response over the connection that is kept; None where there is none to `origin`, or its server has closed it: what
        was sent is sent once more then. It is closed unless it serves: two TLS connections do not fit into memory.
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
        """Close the connection that is kept, if there is one."""
        if self.kept:
            self.kept.close()
            self.kept = None


async def follow_redirects(once, plain, method, url, headers, body):
    """`once(method, parsed url, headers, body)` until its reply is no redirect. Over http, if `plain` allows it at all,
    goes no Authorization: who reads it is the device.
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
    """The bytes of a request up to its body; UpdateError for a header that would smuggle in another."""
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
    """The Response whose head comes next; what is said before it (1xx) is read over."""
    left = HEAD_BYTES
    found = 100
    while found < 200:
        line = await connection.readline(_LINE_BYTES)
        found = status(line)
        headers = {"connection": "close"} if line[7] == 48 else {}  # HTTP/1.0
        left = await read_headers(connection, headers, left - len(line))
    return Response(connection, found, headers)


async def read_headers(connection, headers, left):
    """Read lines into `headers` up to the empty one; returns how many of `left` bytes were not needed."""
    begins = True
    while True:
        line = await connection.readline(_LINE_BYTES)
        left -= len(line)
        if left < 0:
            raise UpdateError("http_malformed", "head longer than %d bytes" % HEAD_BYTES)
        if begins:
            if line in (b"\r\n", b"\n"):
                return left
            header(line, headers)
        begins = line[-1] == 10  # else the rest of a line too long for us, and none that we keep


class Response:
    """`status`; `headers` we keep, names in lower case; `length` of the body in bytes, None when the head does not say.

    A loop that does nothing but readinto has to yield by itself: it waits only while there is nothing to read.
    """

    def __init__(self, connection, status, headers):
        self.connection = connection
        self.client = None  # which keeps the connection, if it can be used again
        self.status = status
        self.headers = headers
        length = body_length(status, headers)
        self.chunked = length == -1
        self.length = None if self.chunked else length
        self.left = 0 if self.chunked else length  # of the body, or of this chunk
        self._had = -1  # what ready() has read of the buffer that readinto() gets next; None: nothing yet
        self.begun = False  # a chunk came before, its line break is still there

    def ready(self, buf):
        """Fill `buf` now, which costs no task and no memory, if all of it has come; else readinto() goes on from there."""
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
        """Fill `buf` (a memoryview) within the limit; less than its length only at the end of the body, 0 after it."""
        if self.chunked:
            from .chunked import readinto

            return (yield from readinto(self, buf))
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
        if self.client and self.left == 0 and not self.chunked and "close" not in self.headers.get("connection", "").lower():
            self.client.kept = self.connection
        else:
            self.connection.close()


async def read_body(response, most):
    """The whole body as bytes; UpdateError reply_too_large above `most`."""
    size = response.length
    buf = memoryview(bytearray(most + 1 if size is None or size > most else size))
    n = await response.readinto(buf)
    if n > most:
        raise UpdateError("reply_too_large", "more than %d bytes" % most)
    return bytes(buf[:n])
