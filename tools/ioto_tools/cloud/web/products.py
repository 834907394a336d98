"""The pages for products and for the releases of one product."""

from ..operators import overview, search
from ..releases import publish as publishing
from .answers import Moved, Page, to


def index(site, asked):
    return Page("products.html", {"products": search.products(site), "counted": search.COUNTED})


def new(site, asked):
    made = publishing.new_product(site, asked.form.get("name", ""), asked.form.get("id") or None)
    return Moved(to("product", id=made["id"]))


def show(site, asked):
    product = publishing.product_of(site, asked.query.get("id", ""))
    return Page("product.html", {"product": product, "releases": overview.updates(site, product["id"])})
