"""`ioto product`: thin wrappers around ioto_tools.cloud."""

from collections.abc import Callable
from typing import Any

import click

from ioto_tools.cloud.http.errors import CloudError
from ioto_tools.cloud.operators import overview
from ioto_tools.cloud.releases import deletion, packed, retention
from ioto_tools.cloud.releases import publish as publishing
from ioto_tools.cloud.site import fleet_overview
from ioto_tools.cloud.storage.tables import Row

from .options import RenamedOption, data_option, json_option, yes_option
from .output import ago, pluralize, print_json, print_table
from .printable import printable
from .rollout_options import print_warnings
from .site import open_site


@click.group()
def product() -> None:
    """Create, list, change and delete products. The boards of a product run the same firmware."""


@product.command("new")
@click.argument("name")
@click.option(
    "--id", "id", metavar="ID", help="Use this id instead of a random one, to move a product from another cloud."
)
@click.option(
    "--require-claim",
    "claim_by_hand",
    cls=RenamedOption,
    was="--claim-by-hand",
    is_flag=True,
    help="A device that registers gets no token until `ioto device claim`.",
)
@data_option
@json_option
def product_new(name: str, id: str | None, claim_by_hand: bool, data: str, json: bool) -> None:
    """Create the product NAME and print its id.

    The id goes into ioto.json of every board as "product": with it, a board registers and gets its own token.
    Anyone who knows the id can register boards, so do not publish it.
    """
    with open_site(data, make=True) as site:
        made = publishing.new_product(site, name, id, claim_by_hand)
    if json:
        print_json(made)
    else:
        click.echo('product %s: put this into ioto.json:  "product": "%s"' % (made["name"], made["id"]))


class _Number(click.ParamType):
    """A number or a word, which `parse` converts; None is returned as -1, because click takes None for no option."""

    name = "N"

    def __init__(self, parse: Callable[[str], int | None]) -> None:
        self.parse = parse

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> int:
        try:
            found = self.parse(value)
            return -1 if found is None else found
        except CloudError as e:
            self.fail(str(e), param, context)


@product.command("set")
@click.argument("name")
@click.option(
    "--keep-images",
    type=_Number(retention.parse_keep_images),
    help="Archive older releases that no device uses, after each publication and every hour: only the N highest "
    "versions keep their images. `all` keeps all images.",
)
@click.option(
    "--packed-bases",
    type=_Number(packed.parse_packed_bases),
    help="Make deltas of each release from the N images that most devices run; 0: only a compressed file. `none` makes "
    "no packed files.",
)
@data_option
@json_option
def product_set(name: str, keep_images: int | None, packed_bases: int | None, data: str, json: bool) -> None:
    """Change the product NAME (or its id).

    A release that a device runs, is pinned to, or may still apply is not archived, and neither are cancelled releases
    above the N-th. An archived release is never offered again, and its image is deleted; its history is kept.
    """
    if keep_images is None and packed_bases is None:
        raise click.UsageError("nothing to change: give --keep-images or --packed-bases")
    found: Row = {}
    with open_site(data) as site:
        if keep_images is not None:
            found |= retention.set_keep_images(site, name, keep_images if keep_images > 0 else None)
        if packed_bases is not None:
            found |= packed.set_packed_bases(site, name, packed_bases if packed_bases >= 0 else None)
    if json:
        print_json(found)
    else:
        _print_settings(found)


def _print_settings(found: Row) -> None:
    """Print the settings that were changed."""
    if "keep_images" in found:
        kept = found["keep_images"]
        words = "its newest " + pluralize(kept, "image") if kept else "all images"
        click.echo("product %s keeps %s" % (found["name"], words))
        if surplus := found["surplus"]:
            click.echo("to be archived within an hour by a running server: %s" % printable(", ".join(surplus)))
    if "packed_bases" in found:
        bases = found["packed_bases"]
        words = "no packed files" if bases is None else "a compressed file and up to %s" % pluralize(bases, "delta")
        click.echo("each release of product %s gets %s" % (found["name"], words))


@product.command("keys")
@click.argument("name")
@click.option(
    "--add",
    "file",
    type=click.Path(exists=True, dir_okay=False),
    help="Add the public key in FILE, so that the cloud recognizes it; `ioto publish --key` adds its key too.",
)
@data_option
@json_option
def product_keys(name: str, file: str | None, data: str, json: bool) -> None:
    """Show which keys signed the releases of the product NAME (or its id), and warn about changes.

    A signature does not contain its key: the key of a release is `unknown` until its public key is added. Boards do
    not use this list, but the public keys in their update.keys.
    """
    from ioto_tools.cloud.releases import signing_keys

    with open_site(data) as site:
        if file:
            signing_keys.add_text(site, name, _read_key(file))
        found = signing_keys.listed(site, name)
    if json:
        print_json(found)
        return
    rows = [
        (each["key"], len(each["versions"]), ", ".join(each["versions"][-1:]) or "-", ago(each["last_s"]))
        for each in found["keys"]
    ]
    print_table("Keys", ("key", "releases", "last release", "published"), rows)
    print_warnings(found["warnings"])


def _read_key(file: str) -> str:
    from ioto_tools.image import keys

    try:
        raw = keys.read(file)
        return raw.decode() if b"PRIVATE KEY" in raw else keys.public_bytes(keys.parse_public(raw, file)).decode()
    except keys.KeyFileError as e:
        raise click.ClickException(str(e)) from e


@product.command("delete")
@click.argument("name")
@yes_option
@data_option
def product_delete(name: str, yes: bool, data: str) -> None:
    """Delete the product NAME (or its id). It must have no devices and no releases.

    Boards that know its id can't register any more. The audit log is kept.
    """
    with open_site(data) as site:
        settings = deletion.product_settings(site, name)
        if settings["obstacle"]:
            raise click.ClickException(settings["obstacle"])
        if not yes:
            question = "Delete the product %s? Boards that have its id can't register any more."
            click.confirm(question % settings["product"]["name"], abort=True)
        found = deletion.delete_product(site, settings["product"]["id"])
    click.echo("product %s deleted" % found["name"])


@product.command("list")
@data_option
@json_option
def product_list(data: str, json: bool) -> None:
    """List the products: id, number of devices, new devices and updates."""
    with open_site(data) as site:
        found = overview.products(site)
    if json:
        print_json(found)
    else:
        rows = [(each["name"], each["id"], each["devices"], each["new"], each["updates"]) for each in found]
        print_table("Products", ("name", "id", "devices", "new devices", "updates"), rows)


@product.command("versions")
@click.argument("name")
@data_option
@json_option
def product_versions(name: str, data: str, json: bool) -> None:
    """Count the devices of the product NAME (or its id) by version: now, and a day, a week and a month ago.

    With --json: all samples, one for each hour of the last week and one for each earlier day.
    """
    with open_site(data) as site:
        found = fleet_overview.of_product(site, name)
    if json:
        print_json(found)
        return
    rows = [
        (version, *("-" if n is None else n for n in numbers))
        for version, numbers in fleet_overview.version_table(found["samples"])
    ]
    print_table("Versions of " + found["name"], ("version", "now", "1 day ago", "7 days ago", "30 days ago"), rows)
