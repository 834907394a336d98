"""Logs the cause of every 5xx response, with an id that the client also receives; and an access log."""

import logging
import os
import time

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_ID_HEADER = "x-request-id"
_log = logging.getLogger("ioto.cloud")
_access = logging.getLogger("ioto.cloud.access")


def log_fault(request: Request, error: Exception) -> str:
    """Log why `request` failed. Returns the id of the log line, which the client can quote."""
    id = os.urandom(4).hex()
    cause = str(error).partition("\n")[0]
    path, kind = _path(request.scope), type(error).__name__
    fields = {"request": id, "method": request.method, "path": path, "error": kind, "cause": cause}
    _log.error("request %s: %s %s: %s: %s", id, request.method, path, kind, cause, extra={"fields": fields})
    return id


class AccessLog:
    """ASGI middleware that logs each response.

    The query string is not logged, because the one of an image link contains the link's signature.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started = time.perf_counter()
        status, size = 0, 0

        async def count_bytes(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
            size += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, count_bytes)
        finally:
            client = scope["client"][0] if scope.get("client") else "-"
            took_ms = (time.perf_counter() - started) * 1000
            values = (client, scope["method"], _path(scope), status, size, round(took_ms, 1))
            fields = dict(zip(("client", "method", "path", "status", "bytes", "ms"), values))
            _access.info("%s %s %s %d %d bytes %.1f ms", *values, extra={"fields": fields})


def _path(scope: Scope) -> str:
    return "".join(c if c.isprintable() else "?" for c in scope["path"][:200])
