"""The pages for products and for the releases of one product."""

from ..operators import overview, search
from ..releases import publish as publishing
from ..site.site import Site
from .answers import Asked, Moved, Page, to


def index(site: Site, asked: Asked) -> Page:
    return Page("products.html", {"products": search.products(site), "counted": search.COUNTED})


def new(site: Site, asked: Asked) -> Moved:
    made = publishing.new_product(site, asked.form.get("name", ""), asked.form.get("id") or None)
    return Moved(to("product", id=made["id"]))


def show(site: Site, asked: Asked) -> Page:
    product = publishing.product_of(site, asked.query.get("id", ""))
    return Page("product.html", {"product": product, "releases": overview.updates(site, product["id"])})
