"""`ioto product`: thin wrappers around ioto_tools.cloud."""

import click

from ioto_tools.cloud.operators import overview
from ioto_tools.cloud.releases import publish as publishing

from .options import RenamedOption, data_option, json_option
from .output import print_json, print_table
from .site import open_site


@click.group()
def product() -> None:
    """Create and list products. The boards of a product run the same firmware."""


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
    help="A device that registers gets no token before `ioto device claim`.",
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


@product.command("list")
@data_option
@json_option
def product_list(data: str, json: bool) -> None:
    """List the products with their ids and their numbers of devices and updates."""
    with open_site(data) as site:
        found = overview.products(site)
    if json:
        print_json(found)
    else:
        rows = [(each["name"], each["id"], each["devices"], each["new"], each["updates"]) for each in found]
        print_table("Products", ("name", "id", "devices", "new devices", "updates"), rows)
