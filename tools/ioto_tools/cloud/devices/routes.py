"""The device routes: each reads the request, calls a module of this folder, and writes the answer."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from ..http.addresses import client_network
from ..http.errors import Refusal
from ..http.range_requests import resolve_range
from ..images.folder_store import CHUNK_BYTES
from ..storage.tables import Row
from . import checkin, messages, registration, reports
from .messages import Fields
from .stage_progress import advance_stages

NOTHING = JSONResponse({})  # for most check-ins, and for reports


class Endpoint:
    """The ASGI application for a function of this module.

    Unlike Starlette's own, it leaves every exception to the handlers of the whole application, which saves the
    processor time of another layer.
    """

    def __init__(self, respond: Callable[[Request], Awaitable[Response]]) -> None:
        self.respond = respond

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self.respond(Request(scope, receive))
        await response(scope, receive, send)


async def register(request: Request) -> Response:
    product = messages.bearer_token(request.headers.get("authorization"))
    fields = await _body(request)
    state = request.app.state
    if address := client_network(request.client.host if request.client else ""):
        state.addresses.check(address)
    state.devices.check((product, messages.device_id(fields)))  # not per product, which is shared by all its devices
    return await _respond(request, registration.register, product, fields, _base_url(request), address)


async def check_in(request: Request) -> Response:
    token = _token(request)
    state = request.app.state
    fields = await _body(request)
    answer = await checkin.check_in(state.site, state.memory, state.run, token, fields, lambda: _base_url(request))
    if not answer:
        return NOTHING
    if "update" in answer:
        state.counters.add("release " + answer["update"])
    return JSONResponse(answer)


async def report(request: Request) -> Response:
    token = _token(request)
    state = request.app.state
    await reports.report(state.site, state.run, token, await _body(request))
    await advance_stages(state.site, state.memory, state.run)
    return NOTHING


async def mqtt(request: Request) -> Response:
    token = _token(request)
    return await _respond(request, registration.answer_mqtt, token, await _body(request))


async def image(request: Request) -> "Response | _ImageRange":
    """Send the image of an update or one of its packed files, or the requested range of it."""
    run = request.app.state.run
    query = request.query_params
    name = request.path_params["update"], request.path_params.get("packed")
    link = *name, query.get("expires"), query.get("signature")
    file, release = await run(registration.open_image, request.app.state.site, *link)
    try:
        return _image(request, run, file, release)
    except OSError:
        file.close()
        raise


def _image(request: Request, run: checkin.Run, file: Any, release: Row) -> "Response | _ImageRange":
    size = release["size"]
    if file.size != size:
        raise OSError("%s: its size differs from the published size, %d bytes" % (file.name, size))
    etag = '"%s"' % release["checksum"]
    # EmbedThis' C updater reads the image until the connection is closed.
    headers = {"connection": "close", "etag": etag, "accept-ranges": "bytes", "cache-control": "private"}
    if request.headers.get("if-none-match", "").strip() in (etag, "*"):
        file.close()
        return Response(status_code=304, headers=headers)
    asked = request.headers.get("range") if request.method == "GET" else None
    status, start, length = resolve_range(size, etag, asked, request.headers.get("if-range"))
    if status == 416:
        file.close()
        headers["content-range"] = "bytes */%d" % size
        return JSONResponse({"error": "Range: the image has %d bytes" % size}, 416, headers)
    if status == 206:
        headers["content-range"] = "bytes %d-%d/%d" % (start, start + length - 1, size)
    headers["content-length"] = str(length)
    headers["content-type"] = "application/octet-stream"
    return _ImageRange(run, file, start, 0 if request.method == "HEAD" else length, status, headers)


class _ImageRange:
    """Response that sends `length` bytes of `file` from `start` in chunks, and closes the file."""

    def __init__(
        self, run: checkin.Run, file: Any, start: int, length: int, status: int, headers: dict[str, str]
    ) -> None:
        self.run = run
        self.file = file
        self.start = start
        self.length = length
        self.status = status
        self.headers = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self.file:
            await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
            self.file.seek(self.start)
            left = self.length
            while left:
                chunk = await self.run(self.file.read, min(CHUNK_BYTES, left))
                if not chunk:
                    raise OSError("%s was truncated while it was sent" % self.file.name)
                left -= len(chunk)
                await send({"type": "http.response.body", "body": chunk, "more_body": left > 0})
            if not self.length:
                await send({"type": "http.response.body", "body": b""})


async def _respond(request: Request, function: Callable[..., dict[str, Any]], *arguments: Any) -> Response:
    """Run the function with the site and the arguments; respond with its result as JSON."""
    return JSONResponse(await request.app.state.run(function, request.app.state.site, *arguments))


async def _body(request: Request) -> Fields:
    """The JSON object in the request's body. Reading stops at the size limit."""
    body, more = bytearray(), True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > messages.BODY_BYTES:
            raise Refusal(413, "body: longer than %d bytes" % messages.BODY_BYTES)
    return messages.parse_body(bytes(body))


def _token(request: Request) -> str:
    """The token of the request. Raises Refusal 429 if the device exceeds its rate limit."""
    token = messages.bearer_token(request.headers.get("authorization"))
    request.app.state.devices.check(token)
    return token


def _base_url(request: Request) -> str:
    """The URL at which the device reaches this cloud, without a trailing slash."""
    url = request.url
    return request.app.state.public_url or "%s://%s" % (url.scheme, url.netloc)
