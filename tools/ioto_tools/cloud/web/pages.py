"""The table of pages."""

from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Mount, Route

from . import access, assets, devices, products, publishing, releases, signing
from .dispatch import changed, shown

PAGES = (
    *signing.ROUTES,
    Route("/static/{hash}/{name}", assets.serve, methods=["GET"]),
    shown("/", products.index),
    changed("/products", products.new, "admin"),
    shown("/product", products.show),
    shown("/release", releases.show),
    changed("/release", releases.act, "publish"),
    changed("/terms", releases.set_terms, "publish"),
    shown("/progress", releases.progress),
    shown("/samples", releases.history),
    shown("/publish", publishing.form, "publish"),
    changed("/publish", publishing.publish, "publish", publishing.UPLOAD_BYTES),
    changed("/policy-check", publishing.check, "read"),
    changed("/dry-run", publishing.dry_run, "publish"),
    shown("/devices", devices.index),
    shown("/device-rows", devices.more),
    shown("/device", devices.show),
    changed("/device", devices.act, "admin"),
    shown("/tokens", access.tokens, "admin"),
    changed("/tokens", access.change_tokens, "admin"),
    shown("/audit", access.audit),
)


async def _slash(request: Request) -> RedirectResponse:
    return RedirectResponse("web/", 308)


async def _home(request: Request) -> RedirectResponse:
    return RedirectResponse("web/", 307)


ROUTES = (
    Route("/", _home, methods=["GET"]),
    Route("/web", _slash, methods=["GET"]),
    Mount("/web", routes=PAGES, middleware=[Middleware(GZipMiddleware, minimum_size=1000)]),
)
