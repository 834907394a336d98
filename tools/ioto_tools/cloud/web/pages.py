"""The table of pages."""

from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Mount, Route

from . import assets, devices, products, publishing, releases, sign_in, tokens_and_audit
from .administration import groups, keys, retire, webhooks
from .dispatch import form_route, page_route

PAGES = (
    *sign_in.ROUTES,
    Route("/static/{hash}/{name}", assets.serve, methods=["GET"]),
    page_route("/", products.home),
    page_route("/products", products.index),
    form_route("/products", products.new, "admin", whole_site=True),
    page_route("/product", products.show),
    page_route("/versions", products.versions),
    page_route("/release", releases.show),
    form_route("/release", releases.act, "publish"),
    form_route("/terms", releases.set_terms, "publish"),
    page_route("/retire", retire.show, "admin"),
    form_route("/retire", retire.act, "admin"),
    page_route("/keys", keys.show),
    form_route("/keys", keys.add, "admin"),
    page_route("/product-settings", retire.product, "admin"),
    form_route("/product-settings", retire.change_product, "admin"),
    page_route("/progress", releases.progress),
    page_route("/samples", releases.history),
    page_route("/publish", publishing.form, "publish"),
    form_route("/publish", publishing.publish, "publish", publishing.UPLOAD_BYTES),
    form_route("/policy-check", publishing.check, "read"),
    form_route("/dry-run", publishing.dry_run, "publish"),
    page_route("/devices", devices.index),
    page_route("/device-rows", devices.more),
    page_route("/device-count", devices.count),
    page_route("/device-export", devices.export),
    page_route("/bulk", devices.ask_bulk, "publish"),
    page_route("/bulk-count", devices.count_bulk, "publish"),
    form_route("/bulk", devices.change_bulk, "publish"),
    page_route("/device", devices.show),
    form_route("/device", devices.act, "admin"),
    page_route("/groups", groups.index, whole_site=True),
    form_route("/groups", groups.change, "publish", whole_site=True),
    page_route("/group-devices", groups.devices, whole_site=True),
    page_route("/webhooks", webhooks.index, "admin", whole_site=True),
    form_route("/webhooks", webhooks.change, "admin", whole_site=True),
    page_route("/tokens", tokens_and_audit.tokens, "admin", whole_site=True),
    form_route("/tokens", tokens_and_audit.change_tokens, "admin", whole_site=True),
    page_route("/audit", tokens_and_audit.audit),
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
