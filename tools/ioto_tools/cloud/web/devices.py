"""The pages for devices: the list, one page at a time, actions on all devices of a list, and a single device."""

from collections.abc import Callable
from typing import Any

from ..http.errors import CloudError
from ..lists import bulk, device_filter, device_list
from ..lists import export as exports
from ..lists.device_filter import PARAMETERS
from ..operators import control, groups, overview
from ..rules import board_health, selection, update_states
from ..site.site import Site
from ..storage import queries
from ..storage.tables import Row
from .responses import Action, Download, Page, PageRequest, Redirect, link

MOST_COUNTED = 100_000  # devices of a list are counted up to about this number
# (`sort`, its text)
SORTS = (
    ("", "id"),
    ("seen", "last check-in, oldest first"),
    ("-seen", "last check-in, newest first"),
    ("version", "version, lowest first"),
    ("-version", "version, highest first"),
    ("first", "first registration, oldest first"),
    ("-first", "first registration, newest first"),
)
# The form shows these fields only on request, or if one of them is set.
_MORE_FIELDS = ("release", "state", "reason", "changed", "version", "older", "newer", "registered", "group", "policy")
# {action on all devices of a list: (what it does, what the operator should know)}
BULK = {
    "retry": ("Offer the update again", "Their earlier outcomes no longer count for the stop rule."),
    "claim": ("Claim", "The next client that registers with the id of one of these devices gets its token."),
    "remove": ("Remove", "Their tokens stop working, and their properties and reports are deleted."),
    "pin": ("Pin", "They are offered only this version."),
    "unpin": ("Unpin", "They are offered updates like other devices."),
}
# Why a release is not offered, without the hints for the command line.
REASONS = {why: text.partition(": `")[0] for why, text in selection.REASONS_NOT_OFFERED.items()}


def index(site: Site, request: PageRequest) -> Page:
    said = _filter_of(request.query)
    values = {
        "products": site.database.read(queries.product_names),
        "groups": [("", "all"), *((each["name"], each["name"]) for each in groups.listed(site))],
        "sorts": SORTS,
        "search": said,
        "has_more_fields": any(said.get(name) for name in _MORE_FIELDS),
        "problem": None,
    }
    try:
        return Page("devices.html", {**values, **_rows(site, request)})
    except CloudError as e:
        return Page("devices.html", {**values, "problem": str(e)}, e.status)


def _is_for(wanted: device_filter.DeviceFilter, action: str) -> bool:
    """Can the action be taken on all devices of the list?"""
    return wanted.product is not None and (action != "retry" or wanted.release is not None)


def more(site: Site, request: PageRequest) -> Page:
    """The next rows of the list, which the page requests by itself."""
    return Page("device-rows.html", _rows(site, request))


def _filter_of(said: dict[str, Any]) -> dict[str, str]:
    """The parameters of the list in the page's address or a form, without empty ones."""
    found = {name: said.get(name, "").strip() for name in (*PARAMETERS, "sort")}
    return {name: text for name, text in found.items() if text}


def _rows(site: Site, request: PageRequest) -> dict[str, Any]:
    said = _filter_of(request.query)
    wanted = device_filter.parse(site, said)
    before, looked = (request.number(name) or 0 for name in ("found", "looked"))
    most = max(1, device_list.PAGE - before)
    found = device_list.page(site, wanted, request.query.get("after", ""), most)
    count = before + len(found["devices"])
    return {
        **found,
        "search": said,
        "filtered": bool(wanted.said),
        "bulk": [
            (action, BULK[action][0], scope) for action, (scope, _) in bulk.ACTIONS.items() if _is_for(wanted, action)
        ],
        "found": count,
        "looked": looked + found["looked"],
        "full": found["after"] and count >= device_list.PAGE,
    }


def export(site: Site, request: PageRequest) -> Download:
    """The whole list as a file."""
    format = request.query.get("format", "csv")
    if format not in exports.FORMATS:
        raise CloudError("format %s: expected: one of %s" % (format[:80], ", ".join(exports.FORMATS)))
    found = exports.export(site, device_filter.parse(site, _filter_of(request.query)), format)
    return Download(found.media_type, found.name, found.pieces)


def count(site: Site, request: PageRequest) -> Page:
    """The number of devices in the list, counted up to MOST_COUNTED in several requests."""
    said = _filter_of(request.query)
    found = device_list.count(site, device_filter.parse(site, said), request.query.get("after", ""))
    total = (request.number("found") or 0) + found["found"]
    after = found["after"] if total < MOST_COUNTED else None
    return Page(
        "device-count.html", {"search": said, "found": total, "after": after, "is_more": found["after"] is not None}
    )


# ---- actions on all devices of a list


def ask_bulk(site: Site, request: PageRequest) -> Page:
    """The confirmation page of the action. The page itself requests the number of devices."""
    prepared = _bulk(site, request.query)
    return Page("bulk.html", {**_bulk_values(prepared, request.query), "found": 0, "after": "", "is_counting": True})


def count_bulk(site: Site, request: PageRequest) -> Page:
    """The number of devices that the action would change, counted in several requests."""
    prepared = _bulk(site, request.query)
    found = bulk.count(site, prepared, request.query.get("after", ""))
    total = (request.number("found") or 0) + found["found"]
    values = {"found": total, "after": found["after"], "is_counting": found["after"] is not None}
    return Page("bulk-question.html", {**_bulk_values(prepared, request.query), **values})


def change_bulk(site: Site, request: PageRequest) -> Page:
    """Change the next batch. The returned fragment requests the next batch until all devices are changed."""
    prepared = _bulk(site, request.form)
    numbers = PageRequest(request.form, {})
    done = bulk.change(site, prepared, numbers.number("run"), request.form.get("after", ""))
    values = {"done": done, "of": numbers.number("of") or 0}
    return Page("bulk-progress.html", {**_bulk_values(prepared, request.form), **values})


def _bulk(site: Site, said: dict[str, Any]) -> bulk.Bulk:
    wanted = device_filter.parse(site, _filter_of(said))
    return bulk.prepare(site, wanted, said.get("action", ""), said.get("pin", "").strip() or None)


def _bulk_values(prepared: bulk.Bulk, said: dict[str, Any]) -> dict[str, Any]:
    title, warning = BULK[prepared.action]
    return {
        "action": prepared.action,
        "title": title,
        "warning": warning,
        "pin": said.get("pin", "").strip(),
        "search": _filter_of(said),
    }


# ---- one device


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
