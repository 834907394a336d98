"""The pages for the overview, for products, and for the releases and versions of one product."""

from ..operators import overview, search
from ..releases import publish as publishing
from ..site import fleet_overview
from ..site.site import Site
from .responses import JsonData, Page, PageRequest, Redirect, link

CHARTS = 4  # on the overview: of the products with the most devices


def home(site: Site, request: PageRequest) -> Page:
    found = fleet_overview.of_site(site)
    largest = sorted((each for each in found["products"] if each["devices"]), key=lambda each: -each["devices"])
    return Page("overview.html", {**found, "charts": largest[:CHARTS]})


def index(site: Site, request: PageRequest) -> Page:
    return Page("products.html", {"products": search.products(site), "counted": search.COUNTED})


def new(site: Site, request: PageRequest) -> Redirect:
    made = publishing.new_product(site, request.form.get("name", ""), request.form.get("id") or None)
    return Redirect(link("product", id=made["id"]))


def show(site: Site, request: PageRequest) -> Page:
    product = publishing.product_of(site, request.query.get("id", ""))
    archived = bool(request.query.get("archived"))
    samples = fleet_overview.of_product(site, product["id"])["samples"]
    values = {
        "versions": fleet_overview.version_table(samples),
        "unlinked": (fleet_overview.OTHER, fleet_overview.NEVER),
        "releases": overview.updates(site, product["id"], archived),
        "archived": archived,
    }
    return Page("product.html", {"product": product, **values})


def versions(site: Site, request: PageRequest) -> JsonData:
    """{"at_s": [..], "names": [..], "counts": [[..] of each name]}, for the chart."""
    at_s, rows = fleet_overview.by_version(fleet_overview.of_product(site, request.query.get("id", ""))["samples"])
    return JsonData({"at_s": at_s, "names": list(rows), "counts": list(rows.values())})
