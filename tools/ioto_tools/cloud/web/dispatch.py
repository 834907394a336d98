"""Calls page functions: checks session, scope and form token, and sets the headers of every response."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from ..http import request_log
from ..http.errors import CloudError, Refusal, Unavailable
from ..http.streaming import stream
from ..operators import hidden_fields
from ..operators.operator_tokens import Operator
from ..site.site import Site
from . import session
from .responses import Download, JsonData, Page, PageRequest, PageResponse, Redirect, check_text, link, render

FORM_BYTES = 64 * 1024
PageFunction = Callable[[Site, PageRequest], PageResponse]
UNAVAILABLE = "the cloud cannot answer now: try again in half a minute; for the cause, see request %s in its log"
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


def page_route(path: str, function: PageFunction, scope: str = "read", whole_site: bool = False) -> Route:
    """The route of a read-only page. `whole_site`: not for a token that is limited to products."""
    return Route(path, _endpoint(function, scope, whole_site, None), methods=["GET"])


def form_route(
    path: str, function: PageFunction, scope: str, max_bytes: int = FORM_BYTES, whole_site: bool = False
) -> Route:
    """The route of a form that changes something; the form may have up to `max_bytes` bytes."""
    return Route(path, _endpoint(function, scope, whole_site, max_bytes), methods=["POST"])


def _endpoint(
    function: PageFunction, scope: str, whole_site: bool, max_bytes: int | None
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        secret = request.cookies.get(session.COOKIE)
        operator: Operator | None = None
        answer: PageResponse
        try:
            operator = await request.app.state.run(session.operator_of, request.app.state.site, secret)
            if operator is None:
                return _redirect_to_sign_in(request)
            if whole_site:
                operator.check_unlimited()
            answer = await _answer(request, function, scope, max_bytes, operator, secret)
        except CloudError as e:
            answer = _error_page(request, str(e), e.status)
        except Refusal as e:
            answer = _error_page(request, e.error, e.status)
        except (OSError, Unavailable) as e:
            id = request_log.log_fault(request, e)
            answer = _error_page(
                request, UNAVAILABLE % id, 503, {"retry-after": "30", request_log.REQUEST_ID_HEADER: id}
            )
        return respond(request, answer, operator, secret)

    return endpoint


async def _answer(
    request: Request,
    function: PageFunction,
    scope: str,
    max_bytes: int | None,
    operator: Operator,
    secret: str | None,
) -> PageResponse:
    if not operator.has_scope(scope):
        raise Refusal(403, "this needs a token with the scope %s; yours has the scope %s" % (scope, operator.scope))
    try:
        form = await read_form(request, max_bytes, secret) if max_bytes else {}
        fields = PageRequest(_check_texts(dict(request.query_params)), _check_texts(form))
        site = request.app.state.site.acting("operator %s" % operator.name, operator.scope, operator.products)
        return await request.app.state.run(_call, site, function, fields)
    finally:
        await request.close()


def _call(site: Site, function: PageFunction, fields: PageRequest) -> PageResponse:
    """The result of a page's function, with names instead of the product ids that are hidden from the operator."""
    answer, names = function(site, fields), hidden_fields.names(site)
    if names and isinstance(answer, Page | JsonData):
        answer = replace(answer, values=hidden_fields.hide(answer.values, names))
    return answer


def _check_texts(fields: dict[str, Any]) -> dict[str, Any]:
    for name, value in fields.items():
        try:
            check_text(value if isinstance(value, str) else "")  # a file is not checked
        except ValueError as e:
            raise Refusal(400, "%s: expected: text without NUL characters and lone surrogates" % name[:40]) from e
    return fields


def respond(
    request: Request, answer: PageResponse, operator: Operator | None = None, secret: str | None = None
) -> Response:
    if isinstance(answer, Redirect):
        return _redirect(request, answer.to)
    if isinstance(answer, JsonData):
        return JSONResponse(answer.values, headers=HEADERS)
    if isinstance(answer, Download):
        named = {"content-disposition": 'attachment; filename="%s"' % answer.name, "content-type": answer.media_type}
        return stream(request, answer.pieces, {**HEADERS, **named})
    common = {
        "operator": operator,
        "form_token": secret and session.form_token(secret),
        "now_s": request.app.state.site.now_s(),
        "here": request.url.path.rpartition("/")[2],
    }
    html = render(answer, **common).encode("utf-8", "replace")  # devices may send lone surrogates
    return HTMLResponse(html, answer.status, {**HEADERS, **answer.headers})


def _redirect_to_sign_in(request: Request) -> Response:
    here = request.url.path.rpartition("/")[2] + ("?" + request.url.query if request.url.query else "")
    there = link("sign-in", next=here if request.method == "GET" and not _is_htmx(request) else None)
    return _redirect(request, there)


def _redirect(request: Request, to: str) -> Response:
    if _is_htmx(request):  # htmx would follow a redirect itself, and ignore the new page's head
        return Response(headers={**HEADERS, "hx-redirect": to})
    return RedirectResponse(to, 303, HEADERS)


def _is_htmx(request: Request) -> bool:
    return "hx-request" in request.headers


def _error_page(request: Request, text: str, status: int, headers: dict[str, str] | None = None) -> Page:
    headers = headers or {}
    if _is_htmx(request):
        return Page(
            "problem.html", {"problem": text}, status, {"hx-retarget": "#problem", "hx-reswap": "innerHTML", **headers}
        )
    return Page("failed.html", {"problem": text}, status, headers)


async def read_form(request: Request, max_bytes: int, secret: str | None = None) -> dict[str, Any]:
    """The fields of a form. Raises Refusal unless it is from this site and, with `secret`, from this session."""
    session.check_origin(request.headers, request.app.state.public_url)
    length = request.headers.get("content-length", "")
    # A chunked body may have any length, whatever its Content-Length.
    if not length.isdigit() or int(length) > max_bytes or "transfer-encoding" in request.headers:
        raise Refusal(
            413,
            "the form or the file in it is larger than %s"
            % ("%d MiB" % (max_bytes >> 20) if max_bytes >> 20 else "%d KiB" % (max_bytes >> 10)),
        )
    fields = dict(await request.form(max_fields=100, max_files=1))
    if secret:
        session.check_form(secret, str(fields.pop("form", "")))
    return fields
