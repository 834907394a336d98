"""All operations of the API: the request, the required scope, and the function of the site that runs it.

Each function takes the site, acting for the operator, and the arguments of the request: path parameters, query and body
fields in one dict, None for omitted ones.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any

from ..devices import registration
from ..operators import control, groups, operator_tokens, overview
from ..operators import webhooks as hooks
from ..releases import doubts
from ..releases import publish as publishing
from ..rules import update_states
from ..site.site import Site
from ..storage import audit
from ..storage.tables import Row
from .fields import NAME, TEXT, VERSION, YES, Schema, choice, number, optional

IMAGE_BYTES = 128 * 1024 * 1024  # more than the updater programs accept

Arguments = dict[str, Any]  # of a request
Run = Callable[[Site, Arguments], Any]  # returns what is sent as JSON


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    scope: str
    run: Run
    says: str
    query: dict[str, Schema] = field(default_factory=dict)
    body: dict[str, Schema] | None = None  # fields of a JSON object
    upload: bool = False  # the body is an image; `run` gets it as the open `file`


# ---- products


def products(site: Site, asked: Arguments) -> list[Row]:
    return overview.products(site)


def new_product(site: Site, asked: Arguments) -> Row:
    return publishing.new_product(site, asked["name"], asked["id"], bool(asked["by_hand"]))


# ---- releases

TERMS = ("policy", "limit", "percentage", "rate", "period", "start", "end", "stop", "age")


def _terms(site: Site, asked: Arguments) -> dict[str, str | None]:
    """{term: text} of the requested rollout; a group narrows the policy."""
    said = {name: asked[name] for name in TERMS}
    if asked.get("group"):
        said["policy"] = groups.both(said["policy"], groups.policy(site, asked["group"]))
    return said


def releases(site: Site, asked: Arguments) -> list[Row]:
    return overview.updates(site, asked["product"])


def publish(site: Site, asked: Arguments) -> Row:
    made, new = publishing.publish_file(
        site,
        *_upload(asked),
        enabled=asked["enabled"] is not False,
        said=_terms(site, asked),
        by_hand=bool(asked["by_hand"]),
    )
    return {**_with_doubts(site, made["id"]), "new": new}


def dry_run(site: Site, asked: Arguments) -> Row:
    return publishing.dry_run_file(site, *_upload(asked), said=_terms(site, asked))


def _upload(asked: Arguments) -> tuple[IO[bytes], str, str, str, str, bool]:
    return (
        asked["file"],
        "the image",
        asked["product"],
        asked["version"],
        asked["description"] or "",
        bool(asked["any_file"]),
    )


def release(site: Site, asked: Arguments) -> Row:
    return overview.update(site, asked["release"])


def change_release(site: Site, asked: Arguments) -> Row:
    word, said = asked["release"], _terms(site, asked)
    if any(text is not None for text in said.values()):
        control.set_terms(site, word, said)
    if asked["enabled"] is not None:
        control.enable(site, word, asked["enabled"])
    return _with_doubts(site, word)


def _with_doubts(site: Site, word: str) -> Row:
    found = overview.update(site, word)
    return {**found, "doubts": doubts.of_update(site, found)}


_MOVES = {"approve": "approved", "pause": "paused", "resume": "resumed", "cancel": "cancelled"}


def move_release(site: Site, asked: Arguments) -> Row:
    return control.move(site, asked["release"], _MOVES[asked["move"]])


def retry_release(site: Site, asked: Arguments) -> Row:
    devices, states = ([asked[name]] if asked[name] else [] for name in ("device", "state"))
    n = control.retry(site, asked["release"], devices, states)
    return {**overview.update(site, asked["release"]), "retried": n}


# ---- devices


def devices(site: Site, asked: Arguments) -> list[Row]:
    return overview.page(site, asked["product"], asked["after"] or "", asked["limit"] or 100)


def device(site: Site, asked: Arguments) -> Row:
    return overview.device(site, asked["device"], asked["product"])


def new_device(site: Site, asked: Arguments) -> Row:
    product = publishing.product_of(site, asked["product"])
    return {
        "id": asked["id"],
        "product": product["name"],
        "token": registration.register_by_hand(site, product["id"], asked["id"]),
    }


def change_device(site: Site, asked: Arguments) -> Row:
    id, product = asked["device"], asked["product"]
    if asked["pin"] is not None:
        control.pin(site, id, asked["pin"] or None, product)
    if asked["claimed"] is not None:
        (control.claim if asked["claimed"] else control.release)(site, id, product)
    if asked["tokens"] == "revoke":
        control.revoke(site, id, product)
    elif asked["tokens"] == "rotate":
        control.rotate(site, [id], product)
    return overview.device(site, id, product)


def remove_device(site: Site, asked: Arguments) -> Row:
    before = overview.device(site, asked["device"], asked["product"])
    control.remove(site, before["id"], before["product"])
    return overview.device(site, before["id"], before["product"])


# ---- groups


def list_groups(site: Site, asked: Arguments) -> list[Row]:
    return groups.listed(site)


def keep_group(site: Site, asked: Arguments) -> Row:
    groups.keep(site, asked["group"], asked["policy"])
    text = groups.policy(site, asked["group"])
    return {"name": asked["group"], "policy": text, "doubts": doubts.of_choice(site, None, text)}


def remove_group(site: Site, asked: Arguments) -> Row:
    groups.remove(site, asked["group"])
    return {}


# ---- the site


def audited(site: Site, asked: Arguments) -> list[Row]:
    return site.database.read(audit.last, asked["limit"] or 100, asked["subject"])


def tokens(site: Site, asked: Arguments) -> list[Row]:
    return operator_tokens.listed(site)


def new_token(site: Site, asked: Arguments) -> Row:
    return operator_tokens.new(site, asked["name"], asked["scope"], asked["lifetime_s"])


def revoke_token(site: Site, asked: Arguments) -> Row:
    operator_tokens.revoke(site, asked["token"])
    return {}


def webhooks(site: Site, asked: Arguments) -> list[Row]:
    return hooks.listed(site)


def new_webhook(site: Site, asked: Arguments) -> Row:
    return hooks.new(site, asked["url"], (asked["events"] or "").split())


def remove_webhook(site: Site, asked: Arguments) -> Row:
    hooks.remove(site, asked["webhook"])
    return {}


def test_webhook(site: Site, asked: Arguments) -> Row:
    hooks.test(site, asked["webhook"])
    return {}


def new_link_key(site: Site, asked: Arguments) -> Row:
    site.links.rotate(site.who, bool(asked["revoke"]))
    return {}


_PRODUCT = {"product": optional(NAME)}
_TERMS = {**dict.fromkeys(TERMS, optional(TEXT)), "group": optional({**TEXT, "maxLength": 64})}
_PUBLISHED = {"version": VERSION, "description": optional(TEXT), "any_file": optional(YES), **_TERMS}
_PUBLISH = {**_PUBLISHED, "enabled": optional(YES), "by_hand": optional(YES)}
_DEVICES = {
    "product": optional(NAME),
    "after": optional({**TEXT, "maxLength": 128}),
    "limit": optional(number(1, 1000)),
}
_DEVICE = {
    "tokens": optional(choice("rotate", "revoke")),
    "pin": optional({**VERSION, "minLength": 0}),
    "claimed": optional(YES),
}
_TOKEN = {
    "name": {**NAME, "maxLength": 64},
    "scope": choice(*operator_tokens.SCOPES),
    "lifetime_s": optional(number(1, 10**9)),
}

OPERATIONS = (
    Operation("GET", "/products", "read", products, "Every product."),
    Operation("POST", "/products", "admin", new_product, "Make a product.", body={"name": NAME, "id": optional(NAME),
    "by_hand": optional(YES)}), Operation("POST", "/products/{product}/releases", "publish", publish,
    "Publish the image in the body.", query=_PUBLISH, upload=True), Operation("POST", "/products/{product}/dry-run",
    "publish", dry_run, "Who would be offered the image in the body.", query=_PUBLISHED, upload=True), Operation("GET",
    "/releases", "read", releases, "Every release.", query=_PRODUCT), Operation("GET", "/releases/{release}", "read",
    release, "One release, named by its id or PRODUCT@VERSION."), Operation("PATCH", "/releases/{release}", "publish",
    change_release, "Change the terms of its roll-out, or whether it is offered.",
              body={"enabled": optional(YES), **_TERMS}),
    Operation("POST", "/releases/{release}/move", "publish", move_release, "Approve, pause, resume or cancel it.",
    body={"move": choice(*_MOVES)}), Operation("POST", "/releases/{release}/retry", "publish", retry_release,
    "Let a device, or all in a state, or all that ended badly or refused it, try it again.",
              body={"device": optional(NAME), "state": optional(choice(*sorted(update_states.RETRIED)))}),
    Operation("GET", "/devices", "read", devices, "Devices by id, those behind `after`.", query=_DEVICES),
    Operation("POST", "/devices", "admin", new_device, "Register a device by hand; its token is shown once.",
    body={"id": NAME, "product": NAME}), Operation("GET", "/devices/{device}", "read", device,
    "One device with its history, and why it is offered what.", query=_PRODUCT), Operation("PATCH", "/devices/{device}",
    "admin", change_device, "Pin it to a version (empty: free it), claim it, exchange or end its tokens.",
              query=_PRODUCT, body=_DEVICE),
    Operation("DELETE", "/devices/{device}", "admin", remove_device, "Remove a device.", query=_PRODUCT),
    Operation("GET", "/groups", "read", list_groups, "Policies with a name."),
    Operation("PUT", "/groups/{group}", "publish", keep_group, "Make or change a group.", body={"policy": TEXT}),
    Operation("DELETE", "/groups/{group}", "publish", remove_group, "Remove a group."),
    Operation("GET", "/audit", "read", audited, "Who did what, the newest first.", query={"limit": optional(number(1,
    1000)), "subject": optional(TEXT)}), Operation("GET", "/tokens", "admin", tokens,
    "The operators' tokens, without the tokens."), Operation("POST", "/tokens", "admin", new_token,
    "Make an operator's token; it is shown once.", body=_TOKEN), Operation("DELETE", "/tokens/{token}", "admin",
    revoke_token, "End the token of this name."), Operation("GET", "/webhooks", "admin", webhooks,
    "The webhooks, without their secrets."), Operation("POST", "/webhooks", "admin", new_webhook,
    "Make a webhook; its secret is shown once.", body={"url": TEXT, "events": optional(TEXT)}), Operation("DELETE",
    "/webhooks/{webhook}", "admin", remove_webhook, "Remove a webhook."), Operation("POST", "/webhooks/{webhook}/test",
    "admin", test_webhook, "Tell it, soon, that it is tried out."), Operation("POST", "/link-key", "admin",
    new_link_key, "Sign links to images with a new key.", body={"revoke": optional(YES)}),
)  # fmt: skip
