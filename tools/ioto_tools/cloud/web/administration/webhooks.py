"""The page for webhooks."""

import asyncio
from typing import Any

from ...operators import webhook_delivery, webhooks
from ...site.site import Site
from ...storage import audit
from ..responses import Page, PageRequest


def index(site: Site, request: PageRequest) -> Page:
    return _page(site)


def change(site: Site, request: PageRequest) -> Page:
    """Create a webhook, whose secret is shown only once, delete one, or post a test event and show the answer."""
    form = request.form
    if id := form.get("remove"):
        webhooks.remove(site, id)
        return _page(site)
    if id := form.get("test"):
        return _page(site, tested={"id": id, "error": asyncio.run(webhook_delivery.post_test(site, id))})
    return _page(site, made=webhooks.new(site, form.get("url", "").strip(), form.get("events", "").split()))


def _page(site: Site, **result: Any) -> Page:
    values = {"made": None, "tested": None, **result}
    return Page("webhooks.html", {"webhooks": webhooks.listed(site), "actions": audit.ACTIONS, **values})
