"""The routes of the API, made from the table of operations. Each checks the token and the request, then answers."""

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import IO, Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ..devices import messages, tokens
from ..http.errors import CloudError, Refusal
from ..http.streaming import stream
from ..images.folder_store import INCOMING
from ..lists.export import Export
from ..operators import hidden_fields, metrics, operator_tokens
from ..site.site import Site
from . import fields, openapi
from .fields import Arguments
from .operations import IMAGE_BYTES, OPERATIONS, ListPage, Operation, Run

BODY_BYTES = 64 * 1024
PER_MINUTE = 600  # requests per token


def routes() -> list[Route]:
    """Starlette routes: one for each path, plus the OpenAPI document and the metrics."""
    found = [
        Route(openapi.PREFIX + "/openapi.json", _document, methods=["GET"]),
        Route("/metrics", _metrics, methods=["GET"]),
    ]
    paths = dict.fromkeys(operation.path for operation in OPERATIONS)
    # A name in a path may contain slashes, so the paths that end with one come last.
    for path in sorted(paths, key=lambda path: path.endswith("}")):
        by_method = {operation.method: operation for operation in OPERATIONS if operation.path == path}
        found.append(Route(openapi.PREFIX + path.replace("}", ":path}"), _endpoint(by_method), methods=list(by_method)))
    return found


async def _document(request: Request) -> Response:
    return JSONResponse(openapi.document())


async def _metrics(request: Request) -> Response:
    (await _operator(request, "read")).check_unlimited()
    request.app.state.counters.flush()
    return PlainTextResponse(await request.app.state.run(metrics.text, request.app.state.site), media_type=metrics.TYPE)


def _endpoint(by_method: dict[str, Operation]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        operation = by_method["GET" if request.method == "HEAD" else request.method]
        run, site = request.app.state.run, request.app.state.site
        operator = await _operator(request, operation.scope)
        if operation.whole_site:
            operator.check_unlimited()
        site = site.acting("operator %s" % operator.name, operator.scope, operator.products)
        args = {**_path(request), **fields.parse_query(request.query_params, operation.query)}
        async with _body(request, operation) as body:
            args.update(body)
            return _response(request, await run(_done, operation.run, site, args))

    return endpoint


def _response(request: Request, result: Any) -> Response:
    if isinstance(result, Export):
        return stream(request, result.pieces, {"content-type": result.media_type})
    if not isinstance(result, ListPage):
        return JSONResponse(result)
    query = {**request.query_params, "after": result.after}
    more = result.after is not None
    return JSONResponse(result.rows, headers={"link": '<?%s>; rel="next"' % urlencode(query)} if more else None)


def _done(function: Run, site: Site, args: Arguments) -> Any:
    try:
        result, names = function(site, args), hidden_fields.names(site)
        if isinstance(result, Export):
            return result  # without the hidden fields already
        if isinstance(result, ListPage):
            return ListPage(hidden_fields.hide(result.rows, names), result.after)
        return hidden_fields.hide(result, names)
    except CloudError as e:
        raise Refusal(e.status, str(e)) from e


async def _operator(request: Request, scope: str) -> operator_tokens.Operator:
    """The operator that sent the request. Raises Refusal 401, 403 or 429."""
    token = messages.bearer_token(request.headers.get("authorization"))
    request.app.state.operators.check(tokens.hash_token(token))
    site = request.app.state.site
    return await request.app.state.run(site.database.read, operator_tokens.authorize, token, scope, site.now_s())


def _path(request: Request) -> dict[str, str]:
    for name, value in request.path_params.items():
        if not 0 < len(value) <= 128 or not value.isprintable():
            raise Refusal(400, "%s: expected: 1 to 128 printable characters" % name)
    return request.path_params


@asynccontextmanager
async def _body(request: Request, operation: Operation) -> AsyncIterator[Arguments]:
    """Yield the fields of the body; an image is in a temporary file, which is deleted at the end of the block."""
    if operation.upload:
        with tempfile.NamedTemporaryFile(prefix=INCOMING, dir=request.app.state.site.images.create_folder()) as file:
            await _received(request, file)
            yield {"file": file}
    elif operation.body is not None:
        raw = bytearray()
        async for chunk in _chunks(request, BODY_BYTES):
            raw += chunk
        yield fields.validate(messages.parse_body(bytes(raw)), operation.body)
    else:
        yield {}


async def _received(request: Request, file: IO[bytes]) -> None:
    run = request.app.state.run
    # The multipart boundaries of a form would be published as part of the image.
    if request.headers.get("content-type", "").lower().startswith("multipart/"):
        raise Refusal(415, "body: it is a form: send only the image, for example with `curl --data-binary @FILE`")
    async for chunk in _chunks(request, IMAGE_BYTES):
        await run(file.write, chunk)
    if not file.tell():
        raise Refusal(400, "body: empty: send the image as the body")
    await run(file.seek, 0)


async def _chunks(request: Request, most: int) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise Refusal(413, "body: longer than %d bytes" % most)
        yield chunk
