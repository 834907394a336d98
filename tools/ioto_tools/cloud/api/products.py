"""The operations on products. As in operations.py, each function takes the site and the arguments of the request."""

from ..operators import overview
from ..releases import deletion, retention, signing_keys
from ..releases import publish as publishing
from ..site import fleet_overview
from ..site.site import Site
from ..storage.tables import Row
from .fields import Arguments


def products(site: Site, args: Arguments) -> list[Row]:
    return overview.products(site)


def new_product(site: Site, args: Arguments) -> Row:
    return publishing.new_product(site, args["name"], args["id"], bool(args["by_hand"]))


def change_product(site: Site, args: Arguments) -> Row:
    return retention.set_keep_images(site, args["product"], args["keep_images"] or None)


def product_versions(site: Site, args: Arguments) -> Row:
    return fleet_overview.of_product(site, args["product"])


def product_keys(site: Site, args: Arguments) -> Row:
    return signing_keys.listed(site, args["product"])


def add_product_key(site: Site, args: Arguments) -> Row:
    signing_keys.add_text(site, args["product"], args["public_key"])
    return signing_keys.listed(site, args["product"])


def delete_product(site: Site, args: Arguments) -> Row:
    return deletion.delete_product(site, args["product"])
