"""All operations of the API as a table: for each, the request, the required scope, and the function that it runs.

Each function takes two arguments: the site, acting for the operator, and a dict with the path parameters, query fields
and body fields of the request. Omitted fields are None.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from ..devices import registration
from ..lists import bulk, device_filter, device_list
from ..lists.export import FORMATS, Export, export
from ..operators import control, groups, operator_tokens, overview, release_files
from ..operators import webhooks as hooks
from ..releases import deletion, packed, retention, term_warnings
from ..releases import publish as publishing
from ..rules import stages, update_states
from ..rules.terms import TERMS
from ..site import fleet_overview
from ..site.site import Site
from ..storage import audit
from ..storage.tables import Row
from . import products
from .fields import BOOLEAN, NAME, TEXT, VERSION, Arguments, Schema, choice, integer, optional

IMAGE_BYTES = 128 * 1024 * 1024  # more than the updater programs accept

Run = Callable[[Site, Arguments], Any]  # its result is sent as JSON


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    scope: str
    run: Run
    summary: str
    query: dict[str, Schema] = field(default_factory=dict)
    body: dict[str, Schema] | None = None  # the fields of a JSON object
    types: tuple[str, ...] = ()  # media types of the result besides JSON
    upload: bool = False  # the body is an image; `run` receives it as the open file `file`
    whole_site: bool = False  # not for a token that is limited to products


# ---- the overview


def site_overview(site: Site, args: Arguments) -> Row:
    return fleet_overview.of_site(site)


# ---- releases


def _terms(site: Site, args: Arguments) -> dict[str, str | None]:
    """{term: text} of the requested rollout; a group's policy is added with `&&`."""
    texts = {name: args[name] for name in TERMS}
    if args.get("group"):
        texts["policy"] = groups.combine(texts["policy"], groups.policy(site, args["group"]))
    return texts


def releases(site: Site, args: Arguments) -> list[Row]:
    return overview.updates(site, args["product"], bool(args["archived"]))


def publish(site: Site, args: Arguments) -> Row:
    made, new = publishing.publish_file(
        site,
        *_upload(args),
        enabled=args["enabled"] is not False,
        said=_terms(site, args),
        by_hand=bool(args["by_hand"]),
        begin_at_once=bool(args["begin_at_once"]),
    )
    return {**_with_doubts(site, made["id"]), "new": new}


def dry_run(site: Site, args: Arguments) -> Row:
    return publishing.dry_run_file(site, *_upload(args), said=_terms(site, args))


def _upload(args: Arguments) -> tuple[BinaryIO, str, str, str, str, bool]:
    return (
        args["file"],
        "the image",
        args["product"],
        args["version"],
        args["description"] or "",
        bool(args["any_file"]),
    )


def release(site: Site, args: Arguments) -> Row:
    return overview.update(site, args["release"]) | release_files.of_release(site, args["release"])


def release_failures(site: Site, args: Arguments) -> list[Row]:
    return overview.release_failures(site, args["release"])


def change_release(site: Site, args: Arguments) -> Row:
    word, texts = args["release"], _terms(site, args)
    if any(text is not None for text in texts.values()):
        control.set_terms(site, word, texts)
    if args["enabled"] is not None:
        control.enable(site, word, args["enabled"])
    return _with_doubts(site, word)


def _with_doubts(site: Site, word: str) -> Row:
    found = overview.update(site, word)
    return {**found, "doubts": term_warnings.of_update(site, found)}


_MOVES = {"approve": "approved", "pause": "paused", "resume": "resumed", "cancel": "cancelled"}


def move_release(site: Site, args: Arguments) -> Row:
    word, move = args["release"], args["move"]
    if move == "advance":
        return control.advance(site, word, args["stage"])
    if move in ("hold", "unhold"):
        return control.hold(site, word, move == "hold")
    return control.change_state(site, word, _MOVES[move])


def retry_release(site: Site, args: Arguments) -> Row:
    devices, states = ([args[name]] if args[name] else [] for name in ("device", "state"))
    n = control.retry(site, args["release"], devices, states)
    return {**overview.update(site, args["release"]), "retried": n}


def delete_release(site: Site, args: Arguments) -> Row:
    return deletion.delete_release(site, args["release"])


def archive_release(site: Site, args: Arguments) -> Row:
    return deletion.archive_release(site, args["release"])


# ---- devices


@dataclass(frozen=True)
class ListPage:
    """A page of a list. The response's header `Link` has the address of the next page."""

    rows: list[Row]
    after: str | None  # the position after which the next page begins


def devices(site: Site, args: Arguments) -> ListPage | Export:
    wanted = _filter(site, args)
    if args["format"]:
        return export(site, wanted, args["format"])
    found = device_list.page(site, wanted, args["after"] or "", args["limit"] or 100)
    return ListPage(found["devices"], found["after"])


def _filter(site: Site, args: Arguments) -> device_filter.DeviceFilter:
    return device_filter.parse(site, {name: args.get(name) for name in (*_FILTER, "sort")})


def retry_devices(site: Site, args: Arguments) -> Row:
    return _change_listed(site, args, bulk.prepare(site, _filter(site, args), "retry"))


def change_devices(site: Site, args: Arguments) -> Row:
    return _change_listed(site, args, bulk.prepare(site, _filter(site, args), args["action"], args["pin"]))


def _change_listed(site: Site, args: Arguments, prepared: bulk.Bulk) -> Row:
    """{run, devices, after} of one batch; for a dry run, `devices` is the number of devices that would be changed."""
    after = args["after"] or ""
    if args["dry_run"]:
        found = bulk.count(site, prepared, after)
        return {"run": None, "devices": found["found"], "after": found["after"]}
    return bulk.change(site, prepared, args["run"], after)


def device(site: Site, args: Arguments) -> Row:
    return overview.device(site, args["device"], args["product"])


def new_device(site: Site, args: Arguments) -> Row:
    product = publishing.product_of(site, args["product"])
    return {
        "id": args["id"],
        "product": product["name"],
        "token": registration.register_by_hand(site, product["id"], args["id"]),
    }


def change_device(site: Site, args: Arguments) -> Row:
    id, product = args["device"], args["product"]
    if args["pin"] is not None:
        control.pin(site, id, args["pin"] or None, product)
    if args["claimed"] is not None:
        (control.claim if args["claimed"] else control.unclaim)(site, id, product)
    if args["tokens"] == "revoke":
        control.revoke(site, id, product)
    elif args["tokens"] == "rotate":
        control.rotate(site, [id], product)
    return overview.device(site, id, product)


def remove_device(site: Site, args: Arguments) -> Row:
    before = overview.device(site, args["device"], args["product"])
    control.remove(site, before["id"], before["product"])
    return overview.device(site, before["id"], before["product"])


# ---- groups


def list_groups(site: Site, args: Arguments) -> list[Row]:
    return groups.listed(site)


def keep_group(site: Site, args: Arguments) -> Row:
    groups.set_policy(site, args["group"], args["policy"])
    text = groups.policy(site, args["group"])
    return {"name": args["group"], "policy": text, "doubts": term_warnings.of_search(site, None, text)}


def remove_group(site: Site, args: Arguments) -> Row:
    groups.remove(site, args["group"])
    return {}


# ---- the site


def audited(site: Site, args: Arguments) -> list[Row]:
    return site.database.read(audit.newest, args["limit"] or 100, args["subject"])


def tokens(site: Site, args: Arguments) -> list[Row]:
    return operator_tokens.listed(site)


def new_token(site: Site, args: Arguments) -> Row:
    products = None if args["products"] is None else args["products"].split()
    return operator_tokens.new(site, args["name"], args["scope"], args["lifetime_s"], products)


def revoke_token(site: Site, args: Arguments) -> Row:
    operator_tokens.revoke(site, args["token"])
    return {}


def webhooks(site: Site, args: Arguments) -> list[Row]:
    return hooks.listed(site)


def new_webhook(site: Site, args: Arguments) -> Row:
    return hooks.new(site, args["url"], (args["events"] or "").split())


def remove_webhook(site: Site, args: Arguments) -> Row:
    hooks.remove(site, args["webhook"])
    return {}


def test_webhook(site: Site, args: Arguments) -> Row:
    hooks.test(site, args["webhook"])
    return {}


def new_link_key(site: Site, args: Arguments) -> Row:
    site.links.rotate(site.who, bool(args["revoke"]))
    return {}


_PRODUCT = {"product": optional(NAME)}
_TERMS = {**dict.fromkeys(TERMS, optional(TEXT)), "group": optional({**TEXT, "maxLength": 64})}
_PUBLISHED = {"version": VERSION, "description": optional(TEXT), "any_file": optional(BOOLEAN), **_TERMS}
_PUBLISH = {**_PUBLISHED, "enabled": optional(BOOLEAN), "by_hand": optional(BOOLEAN),
            "begin_at_once": optional(BOOLEAN)}  # fmt: skip
_FILTER = {
    name: optional({**TEXT, "maxLength": device_filter.MAX_CHARACTERS, "description": "Only devices " + words})
    for name, words in device_filter.PARAMETERS.items()
}
_AFTER = optional({**TEXT, "maxLength": 1000})
_DEVICES = {
    **_FILTER,
    "sort": optional(choice(*device_filter.SORTS)),
    "after": _AFTER,
    "limit": optional(integer(1, 1000)),
    "format": optional({**choice(*FORMATS), "description": "The whole list instead of a page, as a file."}),
}
_BATCH = {"dry_run": optional(BOOLEAN), "run": optional(integer(1, 2**53)), "after": _AFTER}
_CHANGE = {"action": choice("claim", "remove", "pin", "unpin"), "pin": optional(VERSION), **_BATCH}
_DEVICE = {
    "tokens": optional(choice("rotate", "revoke")),
    "pin": optional({**VERSION, "minLength": 0}),
    "claimed": optional(BOOLEAN),
}
_TOKEN = {
    "name": {**NAME, "maxLength": 64},
    "scope": choice(*operator_tokens.SCOPES),
    "lifetime_s": optional(integer(1, 10**9)),
    "products": optional(TEXT),
}

OPERATIONS = (
    Operation("GET", "/overview", "read", site_overview, "Show what needs attention, and the fleet in numbers."),
    Operation("GET", "/products", "read", products.products, "List all products."),
    Operation("POST", "/products", "admin", products.new_product, "Create a product.",
              body={"name": NAME, "id": optional(NAME), "by_hand": optional(BOOLEAN)}, whole_site=True),
    Operation("PATCH", "/products/{product}", "admin", products.change_product,
              "Set how many releases keep their images (0: all), and how many deltas a release has (-1: none).",
              body={"keep_images": optional(integer(0, retention.MOST)),
                    "packed_bases": optional(integer(-1, packed.MOST_BASES))}),
    Operation("GET", "/products/{product}/keys", "read", products.product_keys, "Show which keys signed the releases."),
    Operation("POST", "/products/{product}/keys", "admin", products.add_product_key,
              "Add a public key (PEM), so that its releases are recognized.", body={"public_key": TEXT}),
    Operation("DELETE", "/products/{product}", "admin", products.delete_product,
        "Delete a product that has no devices and no releases."),
    Operation("POST", "/products/{product}/releases", "publish", publish, "Publish the image in the body.",
              query=_PUBLISH, upload=True),
    Operation("POST", "/products/{product}/dry-run", "publish", dry_run,
              "Count the devices that would be offered the image in the body.", query=_PUBLISHED, upload=True),
    Operation("GET", "/products/{product}/versions", "read", products.product_versions,
              "Count a product's devices by version, over time."),
    Operation("GET", "/releases", "read", releases, "List all releases, with `archived` also the archived ones.",
              query={**_PRODUCT, "archived": optional(BOOLEAN)}),
    Operation("GET", "/releases/{release}", "read", release,
              "Show a release, by its id or PRODUCT@VERSION, and its packed files."),
    Operation("GET", "/releases/{release}/failures", "read", release_failures,
              "List a release's failures by reason and cause, each with an example: its traceback and log."),
    Operation("PATCH", "/releases/{release}", "publish", change_release,
              "Change a release's rollout terms, or enable or disable it.",
              body={"enabled": optional(BOOLEAN), **_TERMS}),
    Operation("POST", "/releases/{release}/move", "publish", move_release,
              "Approve, pause, resume or cancel a release; advance it to its next stage (`stage`: only from this one), "
              "hold it in its stage, or end the hold.",
              body={"move": choice(*_MOVES, "advance", "hold", "unhold"), "stage": optional(integer(1, stages.MOST))}),
    Operation("POST", "/releases/{release}/retry", "publish", retry_release,
              "Let a device, all devices in a state, or all that failed or refused the release try it again.",
              body={"device": optional(NAME), "state": optional(choice(*sorted(update_states.RETRYABLE)))}),
    Operation("POST", "/devices/retry", "publish", retry_devices,
              "Let the devices of a list try the update again, one batch at a time.", query=_FILTER, body=_BATCH),
    Operation("POST", "/releases/{release}/archive", "admin", archive_release,
              "Hide a release, delete its image, and never offer it again."),
    Operation("DELETE", "/releases/{release}", "admin", delete_release, "Delete a release that no device uses."),
    Operation("GET", "/devices", "read", devices, "List the devices that match a filter: a page, or a file of all.",
              query=_DEVICES, types=("text/csv",)),
    Operation("POST", "/devices", "admin", new_device, "Register a device by hand; its token is shown once.",
              body={"id": NAME, "product": NAME}),
    Operation("POST", "/devices/change", "admin", change_devices,
              "Claim, remove, pin or unpin the devices of a list, one batch at a time.", query=_FILTER, body=_CHANGE),
    Operation("GET", "/devices/{device}", "read", device,
              "Show a device, its health, history and failures, and why each release is offered to it or not.",
              query=_PRODUCT),
    Operation("PATCH", "/devices/{device}", "admin", change_device,
              "Pin a device to a version (empty: unpin it), claim or unclaim it, rotate or revoke its tokens.",
              query=_PRODUCT, body=_DEVICE),
    Operation("DELETE", "/devices/{device}", "admin", remove_device, "Remove a device.", query=_PRODUCT),
    Operation("GET", "/groups", "read", list_groups, "List the groups, which are named policies.", whole_site=True),
    Operation("PUT", "/groups/{group}", "publish", keep_group, "Create or change a group.", body={"policy": TEXT},
              whole_site=True),
    Operation("DELETE", "/groups/{group}", "publish", remove_group, "Delete a group.", whole_site=True),
    Operation("GET", "/audit", "read", audited, "List the audit log, newest first.",
              query={"limit": optional(integer(1, 1000)), "subject": optional(TEXT)}),
    Operation("GET", "/tokens", "admin", tokens, "List the operators' tokens, without the secrets.", whole_site=True),
    Operation("POST", "/tokens", "admin", new_token, "Create an operator's token; it is shown once.", body=_TOKEN,
              whole_site=True),
    Operation("DELETE", "/tokens/{token}", "admin", revoke_token, "Revoke the token with this name.", whole_site=True),
    Operation("GET", "/webhooks", "admin", webhooks, "List the webhooks, without the secrets.", whole_site=True),
    Operation("POST", "/webhooks", "admin", new_webhook, "Create a webhook; its secret is shown once.",
              body={"url": TEXT, "events": optional(TEXT)}, whole_site=True),
    Operation("DELETE", "/webhooks/{webhook}", "admin", remove_webhook, "Delete a webhook.", whole_site=True),
    Operation("POST", "/webhooks/{webhook}/test", "admin", test_webhook, "Send a test event to a webhook.",
              whole_site=True),
    Operation("POST", "/link-key", "admin", new_link_key, "Sign image links with a new key.",
              body={"revoke": optional(BOOLEAN)}, whole_site=True),
)  # fmt: skip
