"""`ioto devices`, `ioto device`: thin wrappers around ioto_tools.cloud."""

from __future__ import annotations

import json as json_module
from typing import TYPE_CHECKING, Any

import click

from ioto_tools.cloud.devices import registration
from ioto_tools.cloud.http.errors import CloudError, Refusal
from ioto_tools.cloud.lists import bulk, device_filter, export
from ioto_tools.cloud.operators import control, groups, overview
from ioto_tools.cloud.releases import term_warnings
from ioto_tools.cloud.rules.selection import REASONS_NOT_OFFERED, precedence

from .device_actions import action_options, change_devices, pop_action
from .device_options import filter_options, pop_filter
from .failures import print_failures, print_health
from .options import data_option, json_option, yes_option
from .output import ago, pluralize, print_json, print_table
from .printable import printable
from .release_files import describe_offered
from .rollout_options import print_warnings
from .site import open_site

if TYPE_CHECKING:
    from ioto_tools.cloud.storage.tables import Row

# ---- ioto devices, ioto device

device_product_option = click.option(
    "--product",
    metavar="PRODUCT",
    help="Product of the device (name or id); required if several products have a device with this id.",
)


@click.command()
@filter_options
@click.option("--csv", is_flag=True, help="Print CSV for spreadsheets instead of a table for people.")
@action_options
@yes_option
@data_option
@json_option
def devices(csv: bool, yes: bool, data: str, json: bool, **more: Any) -> None:
    """List devices with their version, last check-in, and the state of their last update.

    All conditions must hold. They have the same names as in the address of the web page's list and in the API.

    With --retry, --claim, --remove, --pin or --unpin, the command changes all devices of the list, after it has
    counted them and asked for confirmation. These options need --product or --release.
    """
    said, action = pop_filter(more), pop_action(more)
    if csv and json:
        raise click.UsageError("give --csv or --json, not both")
    if action and (csv or json):
        raise click.UsageError("--%s changes the devices: list them without it" % action[0])
    with open_site(data) as site:
        wanted = device_filter.parse(site, said)
        if action:
            change_devices(site, bulk.prepare(site, wanted, *action), yes)
            return
        if csv or json:
            for piece in export.export(site, wanted, "csv" if csv else "json").pieces:
                click.echo(piece, nl=False)
            return
        found = [row for rows in export.pages(site, wanted) for row in rows]
        text = groups.combine(said["group"] and groups.policy(site, said["group"]), said["policy"])
        warnings = term_warnings.of_search(site, said["product"], text) if text and not found else []
    print_warnings(warnings)
    rows = [
        (each["id"], each["product"], each["version"] or "-", ago(each["seen_s"]), _update_words(each["update"]))
        for each in found
    ]
    print_table("Devices", ("id", "product", "version", "last check-in", "last update"), rows)


def _update_words(update: Row | None) -> str:
    if update is None:
        return "-"
    words = "%s %s" % (update["version"], update["state"])
    if update["attempt"] > 1:
        words += ", attempt %d" % update["attempt"]
    return words + (": " + update["reason"] if update["reason"] else "")


@click.group()
def device() -> None:
    """Register, show, pin and remove devices, and manage their tokens."""


@device.command("show")
@click.argument("id")
@device_product_option
@data_option
@json_option
def device_show(id: str, product: str | None, data: str, json: bool) -> None:
    """Show device ID: its last check-in, health, the updates of its product, every report, and its last failures."""
    with open_site(data) as site:
        found = overview.device(site, id, product)
    if json:
        print_json(found)
        return
    marks = [word for word, holds in (("removed", found["removed"]), ("not claimed", not found["claimed"])) if holds]
    marks += ["pinned to %s" % found["pin"]] if found["pin"] else []
    click.echo(", ".join(["%s, product %s" % (found["id"], found["product"]), *marks]))
    times = pluralize(found["registrations"], "registration")
    click.echo("registered %s, %s, last check-in %s (%d in all)" % (
        ago(found["registered_s"]), times, ago(found["seen_s"]), found["checkins"]))  # fmt: skip
    if found["unknown_reports"]:
        click.echo("%s about updates that this cloud does not have" % pluralize(found["unknown_reports"], "report"))
    for each in found["doubts"]:
        click.echo("%s: %s" % (ago(each["at_s"]), each["says"]))
    print_table(
        "Properties",
        ("name", "value"),
        [(json_module.dumps(k)[1:-1], json_module.dumps(v)) for k, v in found["properties"].items()],
    )
    print_health(found["health"])
    print_table(
        "Updates", ("update", "offered", "because"), [_offer_row(each, found["updates"]) for each in found["offers"]]
    )
    rows = [
        (
            each["version"],
            each["attempt"],
            each["state"],
            each["reason"] or "-",
            each["runs"] or "-",
            ago(each["received_s"]),
        )
        for each in found["reports"]
    ]
    print_table("Reports", ("update", "attempt", "state", "reason", "runs", "when"), rows)
    print_failures(found["failures"])


def _offer_row(offer: Row, updates: list[Row]) -> tuple[str, str, str]:
    """A table row: whether the update is offered now, why not, and its state on the device."""
    words = [_reason(offer)] if offer["why"] else []
    for each in updates:
        if each["update"] == offer["update"]:
            words += ["state on the device: " + _update_words(each).partition(" ")[2]]
            words += ["file: " + describe_offered(each)] if each["file"] != "whole" or each["packed_failed"] else []
    return offer["version"], "no" if offer["why"] else "yes", "; ".join(words) or "-"


def _reason(offer: Row) -> str:
    if offer["stage"]:
        return "the device is not in " + offer["stage"]
    return REASONS_NOT_OFFERED[offer["why"]]


@device.command("new")
@click.argument("id")
@click.option("--product", required=True, metavar="PRODUCT", help="Name or id of its product.")
@data_option
@json_option
def device_new(id: str, product: str, data: str, json: bool) -> None:
    """Register device ID by hand and print its token, which cannot be shown again.

    Use this for devices that cannot register themselves, such as those that run EmbedThis' updater: give it the token
    with its option --token.
    Boards with the agent do not need this.
    """
    with open_site(data) as site:
        found = next((each for each in overview.products(site) if product in (each["id"], each["name"])), None)
        if found is None:
            raise CloudError("product %s: not found; `ioto product list` lists them" % product)
        try:
            token = registration.register_by_hand(site, found["id"], id)
        except Refusal as e:
            raise CloudError(e.error) from e
    if json:
        print_json({"id": id, "product": found["name"], "token": token})
    else:
        click.echo("device %s, product %s: token %s" % (id, found["name"], token))


@device.command("remove")
@click.argument("id")
@device_product_option
@data_option
def device_remove(id: str, product: str | None, data: str) -> None:
    """Remove device ID and invalidate its token.

    The device is notified at its next request and registers again, because any board with the id of a product can
    register. The history of the device is kept.
    """
    with open_site(data) as site:
        control.remove(site, id, product)
    click.echo("device %s removed" % id)


@device.command("revoke")
@click.argument("id")
@device_product_option
@data_option
def device_revoke(id: str, product: str | None, data: str) -> None:
    """Invalidate the tokens of device ID, and issue no new one until `ioto device claim`.

    The device is notified at its next request. Use this if a token may have leaked: the next client that registers
    with this id could be the device or the thief.
    """
    with open_site(data) as site:
        control.revoke(site, id, product)
    click.echo("device %s: its tokens are revoked; `ioto device claim %s` lets it register again" % (id, id))


@device.command("rotate")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option(
    "--product",
    metavar="PRODUCT",
    help="All devices of this product (name or id); with ID..., the product of these devices.",
)
@data_option
def device_rotate(ids: tuple[str, ...], product: str | None, data: str) -> None:
    """Replace the tokens of the devices ID..., or of all devices of --product, at their next check-in.

    The old token is valid until the device has used the new one. Clients other than this project's agent, such as
    EmbedThis' updaters, never accept a new token and keep the old one: the command lists these devices. Create a
    token for each of them with `ioto device new`.
    """
    if not ids and not product:
        raise click.UsageError("give device ids, or --product for all of its devices")
    with open_site(data) as site:
        n, unsupported = control.rotate(site, ids, product)
    n -= len(unsupported)
    if n or not unsupported:
        click.echo("%s a new token at the next check-in" % (pluralize(n, "device") + (" gets" if n == 1 else " get")))
    if unsupported:
        id, product = unsupported[0]
        named = "device %s" % id if len(unsupported) == 1 else "%d devices, such as %s" % (len(unsupported), id)
        click.echo(printable("Warning: %s: the client is not this project's agent, so it keeps its old token. Create "
"a new one with `ioto device new %s --product %s` and install it by hand; the old one becomes "
"invalid when the new one is used" % (named, id, product)),
                             err=True)  # fmt: skip


@device.command("claim")
@click.argument("id")
@device_product_option
@data_option
def device_claim(id: str, product: str | None, data: str) -> None:
    """Let device ID register: the next client that registers with this id gets the device's token.

    The first use of the token invalidates all others. Use this for devices of a product created with
    --require-claim, devices that were released or whose tokens were revoked, and boards whose flash was erased.
    """
    with open_site(data) as site:
        control.claim(site, id, product)
    click.echo("device %s is claimed: it gets its token when it next registers" % id)


@device.command("release")
@click.argument("id")
@device_product_option
@data_option
def device_release(id: str, product: str | None, data: str) -> None:
    """Release device ID: invalidate its token, and issue no new one until the device is claimed.

    The device is notified at its next request and forgets its token.
    """
    with open_site(data) as site:
        control.unclaim(site, id, product)
    click.echo("device %s is released: it gets no token before `ioto device claim %s`" % (id, id))


@device.command("pin")
@click.argument("id")
@click.argument("version")
@device_product_option
@data_option
def device_pin(id: str, version: str, product: str | None, data: str) -> None:
    """Pin device ID to VERSION: it is offered only this version, even a lower one, whatever the release's policy.

    A board accepts a lower version only if the release was signed with --allow-downgrade or --downgrade-from.
    """
    with open_site(data) as site:
        control.pin(site, id, version, product)
        found = overview.device(site, id, product)
    click.echo("device %s is pinned to %s" % (id, version))
    why = next((each["why"] for each in found["offers"] if precedence(each["version"]) == found["pin"]), "unpublished")
    if why not in (None, "runs"):
        because = REASONS_NOT_OFFERED.get(why, "%s has no such release yet" % found["product"])
        click.echo("Warning: %s is not offered to the device now: %s" % (version, because), err=True)


@device.command("unpin")
@click.argument("id")
@device_product_option
@data_option
def device_unpin(id: str, product: str | None, data: str) -> None:
    """Unpin device ID: it is offered updates like other devices."""
    with open_site(data) as site:
        control.pin(site, id, None, product)
    click.echo("device %s is no longer pinned" % id)
