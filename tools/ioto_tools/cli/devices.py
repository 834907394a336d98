"""`ioto devices`, `ioto device`: thin, over ioto_tools.cloud."""

import json as json_module
from typing import Any

import click

from ioto_tools.cloud import policy
from ioto_tools.cloud.devices import registration
from ioto_tools.cloud.http.errors import CloudError, Refusal
from ioto_tools.cloud.operators import control, groups, overview
from ioto_tools.cloud.releases import doubts
from ioto_tools.cloud.rules import terms
from ioto_tools.cloud.rules.selection import WHY, precedence

from .output import ago, json_option, pluralize, print_json, print_table
from .printable import printable
from .rollout_options import print_warnings
from .site import data_option, open_site, product_option

# ---- ioto devices, ioto device

device_product_option = click.option(
    "--product",
    metavar="PRODUCT",
    help="Product of the device (name or id), needed where several have one with this id.",
)


@click.command()
@product_option
@click.option(
    "--where", metavar="EXPR", help="Only devices for which this policy holds, by their last check-in (docs/policy.md)."
)
@click.option("--group", metavar="GROUP", help="Only devices of this group (`ioto groups`).")
@data_option
@json_option
def devices(product: str | None, where: str | None, group: str | None, data: str, json: bool) -> None:
    """List the devices: version, last check-in, and how far the last update came."""
    with open_site(data) as site:
        text = groups.both(group and groups.policy(site, group), where)
        found = overview.devices(site, product, text and policy.compile(terms.read({"policy": text})["policy"]))
        warnings = doubts.of_choice(site, product, text) if text and not found else []
    print_warnings(warnings)
    if json:
        print_json(found)
        return
    rows = [
        (each["id"], each["product"], each["version"] or "-", ago(each["seen_s"]), _update_words(each["update"]))
        for each in found
    ]
    print_table("Devices", ("id", "product", "version", "last check-in", "last update"), rows)


def _update_words(update: dict[str, Any] | None) -> str:
    if update is None:
        return "-"
    words = "%s %s" % (update["version"], update["state"])
    if update["attempt"] > 1:
        words += ", attempt %d" % update["attempt"]
    return words + (": " + update["reason"] if update["reason"] else "")


@click.group()
def device() -> None:
    """Show, add, pin or remove one device."""


@device.command("show")
@click.argument("id")
@device_product_option
@data_option
@json_option
def device_show(id: str, product: str | None, data: str, json: bool) -> None:
    """Show what is known of device ID: its last check-in, and every report."""
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


def _offer_row(judged: dict[str, Any], updates: list[dict[str, Any]]) -> tuple[str, str, str]:
    """A row: is it offered now, and why not; how far it came if it was."""
    had = [_update_words(each).partition(" ")[2] for each in updates if each["update"] == judged["update"]]
    words = ([WHY[judged["why"]]] if judged["why"] else []) + ["state on the device: %s" % each for each in had]
    return judged["version"], "no" if judged["why"] else "yes", "; ".join(words) or "-"


@device.command("new")
@click.argument("id")
@click.option("--product", required=True, metavar="PRODUCT", help="Name or id of its product.")
@data_option
@json_option
def device_new(id: str, product: str, data: str, json: bool) -> None:
    """Register device ID by hand and print its token, once.

    For devices that cannot register themselves, such as those with EmbedThis' updater (its --token). Boards with the
    agent need none of this.
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
    """Remove device ID: its token ends.

    The device is told so at its next call and registers again, as any board can that knows its product's id. Its
    history stays.
    """
    with open_site(data) as site:
        control.remove(site, id, product)
    click.echo("device %s removed" % id)


@device.command("revoke")
@click.argument("id")
@device_product_option
@data_option
def device_revoke(id: str, product: str | None, data: str) -> None:
    """End the tokens of device ID. It is told so at its next call, and gets no other before `ioto device claim`.

    For a device whose token may be in somebody else's hands: who registers first could be either of them.
    """
    with open_site(data) as site:
        control.revoke(site, id, product)
    click.echo("device %s: its tokens are revoked; `ioto device claim %s` lets it register again" % (id, id))


@device.command("rotate")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option(
    "--product", metavar="PRODUCT", help="All devices of this product (name or id), or with ID... the devices of it."
)
@data_option
def device_rotate(ids: tuple[str, ...], product: str | None, data: str) -> None:
    """Exchange the tokens of the devices ID..., or of all devices of a --product, at their next check-in.

    The old token is good until the device has used the new one. Clients other than this project's agent, such as
    EmbedThis' updaters, take no new one and keep theirs: the command names them. Give them one of `ioto device new`.
    """
    if not ids and not product:
        raise click.UsageError("name devices, or a --product for all of its devices")
    with open_site(data) as site:
        n, keep = control.rotate(site, ids, product)
    n -= len(keep)
    if n or not keep:
        click.echo("%d %s given another token at the next check-in" % (n, "device is" if n == 1 else "devices are"))
    if keep:
        id, product = keep[0]
        named = "device %s" % id if len(keep) == 1 else "%d devices, such as %s" % (len(keep), id)
        click.echo(printable("Warning: %s: the client is not this project's agent and keeps its old token: `ioto "
                             "device new %s --product %s` makes "
                             "one to give to it by hand, and its first use ends the old one" % (named, id, product)),
                             err=True)  # fmt: skip


@device.command("claim")
@click.argument("id")
@device_product_option
@data_option
def device_claim(id: str, product: str | None, data: str) -> None:
    """Let device ID register: the next one that does so with this id gets its token, and with its first use all others
    end.

    For a device of a product made with --claim-by-hand, for one that was released or whose tokens were revoked, and for
    a board whose flash was erased.
    """
    with open_site(data) as site:
        control.claim(site, id, product)
    click.echo("device %s is claimed: it gets its token when it registers the next time" % id)


@device.command("release")
@click.argument("id")
@device_product_option
@data_option
def device_release(id: str, product: str | None, data: str) -> None:
    """Release device ID on purpose: it is told so at its next call, forgets its token, and gets none before it is
    claimed.
    """
    with open_site(data) as site:
        control.release(site, id, product)
    click.echo("device %s is released: it gets no token before `ioto device claim %s`" % (id, id))


@device.command("pin")
@click.argument("id")
@click.argument("version")
@device_product_option
@data_option
def device_pin(id: str, version: str, product: str | None, data: str) -> None:
    """Pin device ID to VERSION: it is offered that one, whatever its policy, also where it is lower, and no other.

    A board takes a lower version only if the release was signed with --allow-downgrade or --downgrade-from.
    """
    with open_site(data) as site:
        control.pin(site, id, version, product)
        found = overview.device(site, id, product)
    click.echo("device %s is pinned to %s" % (id, version))
    why = next((each["why"] for each in found["offers"] if precedence(each["version"]) == found["pin"]), "unpublished")
    if why not in (None, "runs"):
        because = WHY.get(why, "%s has no such release yet" % found["product"])
        click.echo("Warning: %s is not offered to the device now: %s" % (version, because), err=True)


@device.command("unpin")
@click.argument("id")
@device_product_option
@data_option
def device_unpin(id: str, product: str | None, data: str) -> None:
    """Unpin device ID: it is offered what the others are."""
    with open_site(data) as site:
        control.pin(site, id, None, product)
    click.echo("device %s is not pinned" % id)
