"""Logs the cause of every 5xx response, with an id that the client also receives; and an access log."""

import logging
import os
import time

ID = "x-request-id"
_log = logging.getLogger("ioto.cloud")
_access = logging.getLogger("ioto.cloud.access")


def fault(request, error):
    """Log why `request` failed; return the id of the log line, which the client can quote."""
    id = os.urandom(4).hex()
    cause = str(error).partition("\n")[0]
    _log.error("request %s: %s %s: %s: %s", id, request.method, _path(request.scope), type(error).__name__, cause)
    return id


class AccessLog:
    """ASGI middleware that logs each response, without the query string, which contains the signature of image
    links.
    """

    def __init__(self, app) -> None:
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        began = time.perf_counter()
        status, size = 0, 0

        async def counting(message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
            size += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, counting)
        finally:
            client = scope["client"][0] if scope.get("client") else "-"
            took_ms = (time.perf_counter() - began) * 1000
            _access.info("%s %s %s %d %d bytes %.1f ms", client, scope["method"], _path(scope), status, size, took_ms)


def _path(scope):
    return "".join(c if c.isprintable() else "?" for c in scope["path"][:200])
