"""The pages for products and for the releases of one product."""

from ..operators import overview, search
from ..releases import publish as publishing
from ..site.site import Site
from .responses import Page, PageRequest, Redirect, link


def index(site: Site, request: PageRequest) -> Page:
    return Page("products.html", {"products": search.products(site), "counted": search.COUNTED})


def new(site: Site, request: PageRequest) -> Redirect:
    made = publishing.new_product(site, request.form.get("name", ""), request.form.get("id") or None)
    return Redirect(link("product", id=made["id"]))


def show(site: Site, request: PageRequest) -> Page:
    product = publishing.product_of(site, request.query.get("id", ""))
    archived = bool(request.query.get("archived"))
    found = overview.updates(site, product["id"], archived)
    return Page("product.html", {"product": product, "releases": found, "archived": archived})
