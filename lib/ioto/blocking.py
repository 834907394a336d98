"""The transport `urequests`: MicroPython's own `requests` behind the interface of http.Client.

It blocks the loop from the name look-up to the last line of the head; the body is read as in http.py. It does not
verify servers, so https is refused unless `unverified` is true. docs/network.md lists its limitations.
"""

from asyncio import sleep_ms

import requests

from .errors import UpdateError, no_memory
from .http import Response, follow_redirects
from .http_parse import header, host_header
from .net import Connection
from .reserve import END_MS, free

_HEAD_BYTES = 16384


class _Stop(OSError):
    """Raised in Head.line() to stop `requests` while it reads the head.

    It is an OSError because `requests` closes its socket only for that exception.
    """


class Client:
    """The client.

    `limit_ms` applies separately to connecting, to each read up to the end of the head, and to every readinto.
    """

    def __init__(self, limit_ms=20000, unverified=False, plain=False):
        self.limit_ms = limit_ms
        self.plain = plain
        self.unverified = unverified

    def request(self, method, url, headers=None, body=None):  # async
        """See http.Client.request()."""
        return follow_redirects(self._once, self.plain, method, url, headers, body)

    def close(self):
        """Do nothing: no connection is kept. See http.Client.close()."""

    async def _once(self, method, url, headers, body):
        secure, host, port, target = url
        if secure and not self.unverified:
            raise UpdateError("tls_unverified", "urequests can't verify servers: use transport asyncio")
        if ":" in host:
            raise UpdateError("url_invalid", "urequests does not support IPv6")
        head = Head()
        sent = dict(headers, Host=host_header(secure, host, port), Connection="close")
        url = "http%s://%s:%d%s" % ("s" if secure else "", host, port, target)
        if secure:
            free()
            await sleep_ms(END_MS)
        try:
            reply = requests.request(
                method, url, body, headers=sent, timeout=self.limit_ms / 1000, parse_headers=head.line
            )
        except _Stop:
            if head.refusal:
                raise head.refusal
            if method != "GET":
                raise UpdateError("http_redirect", "urequests follows GET redirects only")
            return head
        except MemoryError as e:
            raise no_memory(e)
        except (ValueError, IndexError, NotImplementedError) as e:
            raise UpdateError("http_malformed", "urequests: %s" % e)
        if "content-length" not in head.headers and reply.status_code not in (204, 304):
            reply.close()  # otherwise a lost connection would look like the end of the head or body
            raise UpdateError("http_malformed", "urequests needs a Content-Length")
        return _response(reply, head.headers, self.limit_ms)


def _response(reply, headers, limit_ms):
    """Return an http.Response over the socket of `requests`, made non-blocking."""
    reply.raw.setblocking(False)
    connection = Connection(reply.raw, limit_ms)
    try:
        if not 200 <= reply.status_code < 600:
            raise UpdateError("http_malformed", "status %d" % reply.status_code)
        return Response(connection, reply.status_code, headers)
    except UpdateError:
        connection.close()
        raise


class Head:
    """Collects the lines of a head, and stops `requests` at a Location header.

    `requests` would follow a redirect to any host, with Authorization and without a limit. For a redirect, a Head also
    serves as the reply, with status 302 because the real status is unknown.
    """

    status = 302

    def __init__(self):
        self.headers = {}
        self.left = _HEAD_BYTES
        self.refusal = None

    def line(self, line, _):
        self.left -= len(line)
        if line[-1] != 10:
            raise OSError("incomplete head")
        try:
            if self.left < 0:
                raise UpdateError("http_malformed", "head longer than %d bytes" % _HEAD_BYTES)
            header(line, self.headers)
        except UpdateError as e:
            self.refusal = e
        if self.refusal or "location" in self.headers:
            raise _Stop()

    async def close(self):
        pass
