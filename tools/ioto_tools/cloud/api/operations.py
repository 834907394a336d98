"""Every operation of the API: how it is asked for, what scope it wants, and the function of the site that does it.

Each function takes the site, acting for the operator, and what was asked: the parts of the path, the query and the body's fields
in one dict, None where something was left out.
"""

from dataclasses import dataclass, field
from typing import Callable

from .. import audit, control, fleet, operators, provision
from .. import publish as publishing
from .. import webhooks as hooks
from .fields import NAME, TEXT, VERSION, YES, choice, number, optional

IMAGE_BYTES = 128 * 1024 * 1024  # more than the updater programs take


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    scope: str
    run: Callable
    says: str
    query: dict = field(default_factory=dict)
    body: dict | None = None  # fields of a JSON object
    upload: bool = False  # the body is an image; `run` gets its file as `path`


# ---- products


def products(site, asked):
    return fleet.products(site)


def new_product(site, asked):
    return publishing.new_product(site, asked["name"], asked["id"])


# ---- releases


def releases(site, asked):
    return fleet.updates(site, asked["product"])


def publish(site, asked):
    path, product, version = asked["path"], asked["product"], asked["version"]
    more = asked["description"] or "", bool(asked["any_file"]), asked["enabled"] is not False
    made, new = publishing.publish(site, path, product, version, *more)
    return {**_release(site, made["id"]), "new": new}


def release(site, asked):
    return _release(site, asked["release"])


def change_release(site, asked):
    return control.enable(site, asked["release"], asked["enabled"])


def _release(site, word):
    return fleet.update(site, word)


# ---- devices


def devices(site, asked):
    return fleet.devices(site, asked["product"])


def device(site, asked):
    return fleet.device(site, asked["device"])


def new_device(site, asked):
    product = publishing.product_of(site, asked["product"])
    return {"id": asked["id"], "product": product["name"], "token": provision.register_by_hand(site, product["id"], asked["id"])}


def change_device(site, asked):
    if asked["tokens"] == "revoke":
        control.revoke(site, asked["device"])
    else:
        control.rotate(site, [asked["device"]])
    return fleet.device(site, asked["device"])


def remove_device(site, asked):
    control.remove(site, asked["device"])
    return fleet.device(site, asked["device"])


# ---- the site


def audited(site, asked):
    return site.database.read(audit.last, asked["limit"] or 100, asked["subject"])


def tokens(site, asked):
    return operators.listed(site)


def new_token(site, asked):
    return operators.new(site, asked["name"], asked["scope"], asked["lifetime_s"])


def revoke_token(site, asked):
    operators.revoke(site, asked["token"])
    return {}


def webhooks(site, asked):
    return hooks.listed(site)


def new_webhook(site, asked):
    return hooks.new(site, asked["url"], (asked["events"] or "").split())


def remove_webhook(site, asked):
    hooks.remove(site, asked["webhook"])
    return {}


def test_webhook(site, asked):
    hooks.test(site, asked["webhook"])
    return {}


def new_link_key(site, asked):
    site.links.rotate(site.who, bool(asked["revoke"]))
    return {}


_PRODUCT = {"product": optional(NAME)}
_PUBLISHED = {"version": VERSION, "description": optional(TEXT), "any_file": optional(YES), "enabled": optional(YES)}
_TOKEN = {"name": {**NAME, "maxLength": 64}, "scope": choice(*operators.SCOPES), "lifetime_s": optional(number(1, 10**9))}

OPERATIONS = (
    Operation("GET", "/products", "read", products, "Every product."),
    Operation("POST", "/products", "admin", new_product, "Make a product.", body={"name": NAME, "id": optional(NAME)}),
    Operation("POST", "/products/{product}/releases", "publish", publish, "Publish the image in the body.", query=_PUBLISHED, upload=True),
    Operation("GET", "/releases", "read", releases, "Every release.", query=_PRODUCT),
    Operation("GET", "/releases/{release}", "read", release, "One release, named by its id or PRODUCT@VERSION."),
    Operation("PATCH", "/releases/{release}", "publish", change_release, "Offer it, or no more.", body={"enabled": YES}),
    Operation("GET", "/devices", "read", devices, "Every device.", query=_PRODUCT),
    Operation("POST", "/devices", "admin", new_device, "Register a device by hand; its token is shown once.", body={"id": NAME, "product": NAME}),
    Operation("GET", "/devices/{device}", "read", device, "One device with its history."),
    Operation("PATCH", "/devices/{device}", "admin", change_device, "Exchange or end its tokens.", body={"tokens": choice("rotate", "revoke")}),
    Operation("DELETE", "/devices/{device}", "admin", remove_device, "Remove a device."),
    Operation("GET", "/audit", "read", audited, "Who did what, the newest first.", query={"limit": optional(number(1, 1000)), "subject": optional(TEXT)}),
    Operation("GET", "/tokens", "admin", tokens, "The operators' tokens, without the tokens."),
    Operation("POST", "/tokens", "admin", new_token, "Make an operator's token; it is shown once.", body=_TOKEN),
    Operation("DELETE", "/tokens/{token}", "admin", revoke_token, "End the token of this name."),
    Operation("GET", "/webhooks", "admin", webhooks, "The webhooks, without their secrets."),
    Operation("POST", "/webhooks", "admin", new_webhook, "Make a webhook; its secret is shown once.", body={"url": TEXT, "events": optional(TEXT)}),
    Operation("DELETE", "/webhooks/{webhook}", "admin", remove_webhook, "Remove a webhook."),
    Operation("POST", "/webhooks/{webhook}/test", "admin", test_webhook, "Tell it, soon, that it is tried out."),
    Operation("POST", "/link-key", "admin", new_link_key, "Sign links to images with a new key.", body={"revoke": optional(YES)}),
)  # fmt: skip
