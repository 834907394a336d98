"""The ASGI application: its routes, limits and background tasks, and errors as JSON. It contains no SQL.

uvicorn serves the application that create_app() returns; tests call it directly. With `threads=False`, the application
awaits only `receive` and `send`, so tests can step it without an event loop, in simulated time.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from .api import health
from .api import routes as api
from .devices import registration, routes, tokens
from .devices.worker_cache import REFRESH_S, WorkerCache
from .http import request_log
from .http.addresses import is_http_url
from .http.errors import CloudError, Refusal, Unavailable
from .http.rate_limits import PER_MINUTE, RateLimits
from .images import links
from .operators import webhook_delivery
from .rollout import fleet_samples, lost_devices, progress_samples
from .site import housekeeping
from .site.site import Site
from .storage.counters import Counters, CountResponses
from .web import pages

RETRY_AFTER_S = 30
AT_ONE_ADDRESS = 10  # devices behind one router that may register at their full rate

DEVICES = {  # the paths for devices, the most frequent ones first
    "/tok/provision/update": routes.check_in,
    "/tok/provision/updateReport": routes.report,
    "/device/register": routes.register,
    "/api/device/register": routes.register,  # the default path of Ioto's C agent, appended to the Builder's URL
    "/tok/device/provision": routes.mqtt,
}
ROUTES = (
    *(Route(path, routes.Endpoint(function), methods=["POST"]) for path, function in DEVICES.items()),
    Route("/image/{update}", routes.image, methods=["GET"]),
    Route("/image/{update}/{packed}", routes.image, methods=["GET"]),
)


def create_app(
    data_dir: str | Path,
    public_url: str | None = None,
    *,
    link_lifetime_s: int = links.LIFETIME_S,
    quiet_s: int = tokens.QUIET_S,
    lost_after_s: int = lost_devices.AFTER_S,
    rate: int = PER_MINUTE,
    new_per_hour: int = registration.NEW_PER_HOUR,
    clock: Callable[[], float] = time.time,
    random_bytes: Callable[[int], bytes] = os.urandom,
    threads: bool = True,
) -> Starlette:
    """Create the ASGI application for the site in `data_dir`; the site is created if it is missing.

    `public_url`: the URL at which devices reach the cloud, such as "https://updates.example.com"; default: the URL of
    the request. `link_lifetime_s`: minimum lifetime of a link to an image. `quiet_s`: a device that has been silent for
    this time may register again with its product's id. `lost_after_s`: a device with an open offer counts as lost
    after this time without a check-in or report, or after a longer time if its check-in interval is long.
    `rate`: requests per minute that each device may send; each address may send ten times as many registrations; 0:
    unlimited. `new_per_hour`: number of devices of each product that may register for the first time in an hour; 0:
    unlimited. `clock` returns Unix seconds, `random_bytes(n)` secret bytes.
    Call `app.state.site.close()` at the end.
    """
    app = Starlette(
        routes=[*ROUTES, *health.ROUTES, *api.routes(), *pages.ROUTES],
        lifespan=_background_tasks,
        exception_handlers={
            Refusal: _refused,
            HTTPException: _http_error,
            ClientDisconnect: _disconnected,
            Unavailable: _unavailable,
            OSError: _unavailable,
            Exception: _unexpected,
        },
    )
    app.state.public_url = _public_url(public_url)
    if not 0 < link_lifetime_s <= links.MAX_LIFETIME_S:
        raise CloudError(
            "link lifetime %s s: expected: 1 second to %d days" % (link_lifetime_s, links.MAX_LIFETIME_S // 86400)
        )
    app.state.run = run_in_threadpool if threads else _run_here
    app.state.site = Site(data_dir, make=True, clock=clock, random_bytes=random_bytes, threads=threads)
    app.state.site.links.lifetime_s = link_lifetime_s
    app.state.site.quiet_s = quiet_s
    app.state.site.new_per_hour = new_per_hour
    app.state.site.lost_after_s = lost_after_s
    app.state.health = health.Health(app.state.site)
    app.state.counters = Counters(app.state.site)
    app.add_middleware(CountResponses, counters=app.state.counters)
    app.add_middleware(_Slashes)
    app.state.devices = RateLimits(rate, clock)
    app.state.addresses = RateLimits(rate * AT_ONE_ADDRESS, clock)
    app.state.operators = RateLimits(api.PER_MINUTE, clock)
    app.state.memory = WorkerCache(REFRESH_S if threads else 0)
    return app


class _Slashes:
    """ASGI middleware that removes extra slashes from device paths: configured URLs often end with a slash."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if ("//" in path or path[-1:] == "/") and (exact := "/" + "/".join(filter(None, path.split("/")))) in DEVICES:
            scope = {**scope, "path": exact, "raw_path": exact.encode()}
        await self.app(scope, receive, send)


@asynccontextmanager
async def _background_tasks(app: Starlette) -> AsyncIterator[None]:
    """Run a worker's background tasks while it serves."""
    tasks = [
        asyncio.create_task(module.run(app.state.site, app.state.run))
        for module in (webhook_delivery, housekeeping, lost_devices, progress_samples, fleet_samples)
    ]
    yield
    for task in tasks:
        task.cancel()


def _public_url(text: str | None) -> str | None:
    if text is not None and (not is_http_url(text) or "?" in text or "#" in text):
        raise CloudError("public URL %s: expected: http:// or https://, a host, and optionally a path" % text)
    return text.rstrip("/") if text else None


async def _run_here(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


async def _refused(request: Request, refusal: Any) -> Response:
    if refusal.bare:
        return PlainTextResponse(refusal.error, refusal.status)
    headers = {"Retry-After": str(refusal.retry_s)} if refusal.retry_s else None
    return JSONResponse({"error": refusal.error}, refusal.status, headers)


async def _http_error(request: Request, error: Any) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _disconnected(request: Request, error: Exception) -> Response:
    return Response(status_code=400)


async def _unavailable(request: Request, error: Exception) -> Response:
    # The disk may be full, for example. The text must not be one of those that make a device delete its registration.
    return _fault(request, error, 503, "the cloud cannot answer now", {"Retry-After": str(RETRY_AFTER_S)})


async def _unexpected(request: Request, error: Exception) -> Response:
    return _fault(request, error, 500, "the cloud has an internal error")


def _fault(
    request: Request, error: Exception, status: int, text: str, headers: dict[str, str] | None = None
) -> Response:
    id = request_log.log_fault(request, error)
    return JSONResponse(
        {"error": "%s; for the cause, see request %s in its log" % (text, id)},
        status,
        {**(headers or {}), request_log.REQUEST_ID_HEADER: id},
    )
