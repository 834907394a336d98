"""Calls page functions: checks session, scope and form token, and sets the headers of every response."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from ..http import request_log
from ..http.errors import CloudError, Refusal, Unavailable
from ..operators import hidden_fields
from ..site.site import Site
from . import session
from .answers import Answer, Asked, Data, Moved, Page, render, text, to

FORM_BYTES = 64 * 1024
PageFunction = Callable[[Site, Asked], Answer]
AWAY = "the cloud cannot answer now: try again in half a minute; its log has the cause under request %s"
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


def shown(path: str, function: PageFunction, scope: str = "read") -> Route:
    """The route of a page that only reads."""
    return Route(path, _endpoint(function, scope, None), methods=["GET"])


def changed(path: str, function: PageFunction, scope: str, most: int = FORM_BYTES) -> Route:
    """The route of a change; its form may have up to `most` bytes."""
    return Route(path, _endpoint(function, scope, most), methods=["POST"])


def _endpoint(function: PageFunction, scope: str, most: int | None) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        secret = request.cookies.get(session.COOKIE)
        operator: session.Operator | None = None
        answer: Answer
        try:
            operator = await request.app.state.run(session.operator, request.app.state.site, secret)
            if operator is None:
                return _sign_in_first(request)
            answer = await _answer(request, function, scope, most, operator, secret)
        except CloudError as e:
            answer = _failed(request, str(e), e.status)
        except Refusal as e:
            answer = _failed(request, e.error, e.status)
        except (OSError, Unavailable) as e:
            id = request_log.fault(request, e)
            answer = _failed(request, AWAY % id, 503, {"retry-after": "30", request_log.ID: id})
        return respond(request, answer, operator, secret)

    return endpoint


async def _answer(
    request: Request,
    function: PageFunction,
    scope: str,
    most: int | None,
    operator: session.Operator,
    secret: str | None,
) -> Answer:
    if not operator.may(scope):
        raise Refusal(403, "this needs a token with the scope %s; yours has the scope %s" % (scope, operator.scope))
    try:
        form = await read_form(request, most, secret) if most else {}
        asked = Asked(_texts(dict(request.query_params)), _texts(form))
        site = request.app.state.site.acting("operator %s" % operator.name, operator.scope)
        return await request.app.state.run(_shown_to, site, function, asked)
    finally:
        await request.close()


def _shown_to(site: Site, function: PageFunction, asked: Asked) -> Answer:
    """The result of a page's function, without the fields that are hidden from the operator's scope."""
    answer, names = function(site, asked), hidden_fields.names(site)
    if names and not isinstance(answer, Moved):
        answer = replace(answer, values=hidden_fields.hidden(answer.values, names))
    return answer


def _texts(fields: dict[str, Any]) -> dict[str, Any]:
    for name, value in fields.items():
        try:
            text(value if isinstance(value, str) else "")  # a file is not checked
        except ValueError as e:
            raise Refusal(400, "%s: expected: text without NUL characters and lone surrogates" % name[:40]) from e
    return fields


def respond(
    request: Request, answer: Answer, operator: session.Operator | None = None, secret: str | None = None
) -> Response:
    if isinstance(answer, Moved):
        return _moved(request, answer.to)
    if isinstance(answer, Data):
        return JSONResponse(answer.values, headers=HEADERS)
    common = {
        "operator": operator,
        "form_token": secret and session.form_token(secret),
        "now_s": request.app.state.site.now_s(),
        "here": request.url.path.rpartition("/")[2],
    }
    html = render(answer, **common).encode("utf-8", "replace")  # devices may send lone surrogates
    return HTMLResponse(html, answer.status, {**HEADERS, **answer.headers})


def _sign_in_first(request: Request) -> Response:
    here = request.url.path.rpartition("/")[2] + ("?" + request.url.query if request.url.query else "")
    there = to("sign-in", next=here if request.method == "GET" and not _is_part(request) else None)
    return _moved(request, there)


def _moved(request: Request, to: str) -> Response:
    if _is_part(request):  # htmx would follow a redirect by itself, without the other page's head
        return Response(headers={**HEADERS, "hx-redirect": to})
    return RedirectResponse(to, 303, HEADERS)


def _is_part(request: Request) -> bool:
    return "hx-request" in request.headers


def _failed(request: Request, text: str, status: int, headers: dict[str, str] | None = None) -> Page:
    headers = headers or {}
    if _is_part(request):
        return Page(
            "problem.html", {"problem": text}, status, {"hx-retarget": "#problem", "hx-reswap": "innerHTML", **headers}
        )
    return Page("failed.html", {"problem": text}, status, headers)


async def read_form(request: Request, most: int, secret: str | None = None) -> dict[str, Any]:
    """The fields of a form. Refusal unless it is from this site and, if given, from the session `secret`."""
    session.check_origin(request.headers, request.app.state.public_url)
    length = request.headers.get("content-length", "")
    # A chunked body may have any length, whatever its Content-Length.
    if not length.isdigit() or int(length) > most or "transfer-encoding" in request.headers:
        raise Refusal(
            413,
            "the form or the file in it is larger than %s"
            % ("%d MiB" % (most >> 20) if most >> 20 else "%d KiB" % (most >> 10)),
        )
    fields = dict(await request.form(max_fields=100, max_files=1))
    if secret:
        session.check_form(secret, str(fields.pop("form", "")))
    return fields
