"""Sign-in and sign-out: the only pages that need no session."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..http.errors import Refusal, Unavailable
from ..http.request_log import REQUEST_ID_HEADER, log_fault
from . import session
from .dispatch import FORM_BYTES, UNAVAILABLE, read_form, respond
from .responses import Page, Redirect

SIGN_IN = "sign-in"


async def form(request: Request) -> Response:
    return respond(request, _page(request))


def _page(
    request: Request, problem: str | None = None, status: int = 200, headers: dict[str, str] | None = None
) -> Page:
    return Page("sign-in.html", {"problem": problem, "next": _next(request)}, status, headers or {})


async def sign_in(request: Request) -> Response:
    try:
        fields = await read_form(request, FORM_BYTES)
        secret = await request.app.state.run(
            session.start, request.app.state.site, str(fields.get("token", "")).strip()
        )
    except Refusal as e:
        return respond(request, _page(request, e.error, e.status))
    except (OSError, Unavailable) as e:
        id = log_fault(request, e)
        return respond(request, _page(request, UNAVAILABLE % id, 503, {REQUEST_ID_HEADER: id}))
    if secret is None:
        return respond(request, _page(request, "no operator has this token, or it has expired", 403))
    answer = respond(request, Redirect(_next(request)))
    secure = request.url.scheme == "https"
    answer.set_cookie(
        session.COOKIE, secret, session.SESSION_S, path=None, secure=secure, httponly=True, samesite="strict"
    )
    return answer


def _next(request: Request) -> str:
    """The page that was requested before sign-in. Only paths below /web/ are accepted."""
    wanted = request.query_params.get("next", "")
    return wanted if wanted[:1].isalpha() and ":" not in wanted.partition("?")[0] else "."


async def sign_out(request: Request) -> Response:
    secret = request.cookies.get(session.COOKIE)
    try:
        await read_form(request, FORM_BYTES, secret or "")
    except Refusal as e:
        return respond(request, Page("failed.html", {"problem": e.error}, e.status))
    if secret:
        await request.app.state.run(session.end_session, request.app.state.site, secret)
    answer = respond(request, Redirect(SIGN_IN))
    answer.set_cookie(session.COOKIE, max_age=0, expires=0, path=None)
    return answer


ROUTES = (
    Route("/sign-in", form, methods=["GET"]),
    Route("/sign-in", sign_in, methods=["POST"]),
    Route("/sign-out", sign_out, methods=["POST"]),
)
