"""The page that shows which keys signed the releases of a product."""

from ...releases import signing_keys
from ...site.site import Site
from ..responses import Page, PageRequest, Redirect, link


def show(site: Site, request: PageRequest) -> Page:
    return Page("keys.html", signing_keys.listed(site, request.query.get("id", "")))


def add(site: Site, request: PageRequest) -> Redirect:
    word = request.form.get("id", "")
    signing_keys.add_text(site, word, request.form.get("public_key", "").replace("\r", ""))
    return Redirect(link("keys", id=word))
