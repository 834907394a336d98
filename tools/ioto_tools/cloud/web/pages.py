"""The table of pages."""

from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import RedirectResponse
from starlette.routing import Mount, Route

from . import assets, devices, products, releases, signing
from .dispatch import changed, shown

PAGES = (
    *signing.ROUTES,
    Route("/static/{hash}/{name}", assets.serve, methods=["GET"]),
    shown("/", products.index),
    changed("/products", products.new, "admin"),
    shown("/product", products.show),
    shown("/release", releases.show),
    changed("/release", releases.act, "publish"),
    shown("/devices", devices.index),
    shown("/device", devices.show),
    changed("/device", devices.act, "admin"),
)


async def _slash(request):
    return RedirectResponse("web/", 308)


ROUTES = (
    Route("/web", _slash, methods=["GET"]),
    Mount("/web", routes=PAGES, middleware=[Middleware(GZipMiddleware, minimum_size=1000)]),
)
