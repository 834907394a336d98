"""The operations on products. As in operations.py, each function takes the site and the arguments of the request."""

from ..http.errors import CloudError
from ..operators import overview
from ..releases import deletion, packed, retention, signing_keys
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
    keep_images, packed_bases = args["keep_images"], args["packed_bases"]
    if keep_images is None and packed_bases is None:
        raise CloudError("nothing to change: give keep_images or packed_bases")
    found: Row = {}
    if keep_images is not None:
        found |= retention.set_keep_images(site, args["product"], keep_images or None)
    if packed_bases is not None:
        found |= packed.set_packed_bases(site, args["product"], packed_bases if packed_bases >= 0 else None)
    return found


def product_versions(site: Site, args: Arguments) -> Row:
    return fleet_overview.of_product(site, args["product"])


def product_keys(site: Site, args: Arguments) -> Row:
    return signing_keys.listed(site, args["product"])


def add_product_key(site: Site, args: Arguments) -> Row:
    signing_keys.add_text(site, args["product"], args["public_key"])
    return signing_keys.listed(site, args["product"])


def delete_product(site: Site, args: Arguments) -> Row:
    return deletion.delete_product(site, args["product"])
