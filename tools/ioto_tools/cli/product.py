"""`ioto product`: thin wrappers around ioto_tools.cloud."""

import click

from ioto_tools.cloud.operators import overview
from ioto_tools.cloud.releases import deletion
from ioto_tools.cloud.releases import publish as publishing

from .options import RenamedOption, data_option, json_option, yes_option
from .output import print_json, print_table
from .site import open_site


@click.group()
def product() -> None:
    """Create, list and delete products. The boards of a product run the same firmware."""


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


@product.command("delete")
@click.argument("name")
@yes_option
@data_option
def product_delete(name: str, yes: bool, data: str) -> None:
    """Delete the product NAME (or its id). It must have no devices and no releases.

    Boards that know its id can't register any more. The audit log is kept.
    """
    if not yes:
        click.confirm("Delete the product %s? Boards that have its id can't register any more." % name, abort=True)
    with open_site(data) as site:
        found = deletion.delete_product(site, name)
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
