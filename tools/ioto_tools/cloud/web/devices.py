"""The pages for devices: the list, one page at a time, and a single device."""

from collections.abc import Callable
from typing import Any

from .. import policy
from ..http.errors import CloudError
from ..operators import control, overview, search
from ..rules import board_health, selection, update_states
from ..site.site import Site
from ..storage import queries
from ..storage.tables import Row
from .responses import Action, Page, PageRequest, Redirect, link

# Why a release is not offered, without the hints for the command line.
REASONS = {why: text.partition(": `")[0] for why, text in selection.REASONS_NOT_OFFERED.items()}


def index(site: Site, request: PageRequest) -> Page:
    values = {"products": site.database.read(queries.product_names), "search": _search(request), "problem": None}
    try:
        return Page("devices.html", {**values, **_rows(site, request)})
    except policy.PolicyError as e:
        return Page("devices.html", {**values, "problem": "policy: %s" % e}, 400)


def more(site: Site, request: PageRequest) -> Page:
    """The next rows of the list, which the page requests by itself."""
    try:
        return Page("device-rows.html", _rows(site, request))
    except policy.PolicyError as e:
        raise CloudError("policy: %s" % e) from e


def _search(request: PageRequest) -> dict[str, str]:
    return {name: request.query.get(name, "").strip() for name in ("product", "id", "policy")}


def _rows(site: Site, request: PageRequest) -> dict[str, Any]:
    wanted = _search(request)
    which = policy.compile(wanted["policy"]) if wanted["policy"] else None
    before, looked = (request.number(name) or 0 for name in ("found", "looked"))
    most = max(1, search.PAGE - before)
    found = search.page(site, wanted["product"] or None, wanted["id"], which, request.query.get("after", ""), most)
    count = before + len(found["devices"])
    return {
        **found,
        "search": wanted,
        "found": count,
        "looked": looked + found["looked"],
        "full": found["after"] and count >= search.PAGE,
    }


def show(site: Site, request: PageRequest) -> Page | Redirect:
    id = request.query.get("id", "")
    try:
        found = overview.device(site, id, request.query.get("product"))
    except overview.Ambiguous:
        return Redirect(link("devices", id=id))
    return Page(
        "device.html",
        {
            "device": found,
            "words": REASONS,
            "actions": _actions(found),
            "retried": update_states.RETRYABLE,
            "numbers": board_health.NUMBERS,
        },
    )


def _actions(device: Row) -> list[Action]:
    if device["removed"]:
        return []
    remove: Action = (
        "remove",
        "Remove",
        "Remove the device? Its token stops working; a board with the product id can register again.",
    )
    release = "release", "Unclaim", "Unclaim the device? It cannot get a token until it is claimed again."
    revoke = (
        "revoke",
        "Revoke tokens",
        "Revoke the device's tokens? Its next request is rejected, and it cannot get a token until it is claimed.",
    )
    claim = (
        "claim",
        "Claim",
        "Let the device register again? The next client with this id gets a token, whose first use revokes all others.",
    )
    rotate = "rotate", "Rotate token", None
    return [rotate, revoke, claim, release, remove] if device["claimed"] else [claim, remove]


def act(site: Site, request: PageRequest) -> Redirect:
    id, product, action = (request.form.get(name, "") for name in ("id", "product", "action"))
    if action == "pin":
        control.pin(site, id, request.form.get("version", "").strip(), product)
    elif action == "unpin":
        control.pin(site, id, None, product)
    elif action in _CHANGES:
        _CHANGES[action](site, id, product)
    else:
        raise CloudError("action %s: unknown" % action)
    return Redirect(link("device", id=id, product=product))


_CHANGES: dict[str, Callable[[Site, str, str], object]] = {
    "rotate": lambda site, id, product: control.rotate(site, [id], product),
    "revoke": control.revoke,
    "release": control.unclaim,
    "claim": control.claim,
    "remove": control.remove,
}
