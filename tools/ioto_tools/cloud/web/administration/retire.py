"""The pages that archive or delete a release, and that change or delete a product."""

from ...http.errors import CloudError
from ...operators import overview
from ...releases import deletion, packed, retention
from ...site.site import Site
from ..responses import Page, PageRequest, Redirect, link


def show(site: Site, request: PageRequest) -> Page:
    """Show which devices use a release, and whether it can be deleted or only archived."""
    found = overview.update(site, request.query.get("id", ""))
    return Page("retire.html", {"release": found, "usage": deletion.release_usage(site, found["update"])})


def act(site: Site, request: PageRequest) -> Redirect:
    word, action = request.form.get("id", ""), request.form.get("action", "")
    product = overview.update(site, word)["product"]
    if action == "delete":
        deletion.delete_release(site, word)
        return Redirect(link("product", id=product))
    if action != "archive":
        raise CloudError("action %s: unknown" % action[:40])
    deletion.archive_release(site, word)
    return Redirect(link("release", id=word))


def product(site: Site, request: PageRequest) -> Page:
    """The settings of a product, and whether it can be deleted."""
    found = deletion.product_settings(site, request.query.get("id", ""))
    return Page("product-settings.html", {**found, "most": retention.MOST, "most_bases": packed.MOST_BASES})


def change_product(site: Site, request: PageRequest) -> Redirect:
    word = request.form.get("id", "")
    if request.form.get("action") == "delete":
        deletion.delete_product(site, word)
        return Redirect("products")
    if "packed_bases" in request.form:
        found = packed.set_packed_bases(site, word, packed.parse_packed_bases(request.form["packed_bases"]))
    else:
        keep_images = retention.parse_keep_images(request.form.get("keep_images", "all"))
        found = retention.set_keep_images(site, word, keep_images)
    return Redirect(link("product-settings", id=found["id"]))
