"""The page for groups, which are named policies."""

from ... import policy
from ...operators import groups
from ...site.site import Site
from ..responses import Page, PageRequest, Redirect


def index(site: Site, request: PageRequest) -> Page:
    """The groups, and a form for a new one, or for the group `name`."""
    found = groups.listed(site)
    wanted = request.query.get("name", "")
    edited = next((each for each in found if each["name"] == wanted), {"name": "", "policy": ""})
    return Page("groups.html", {"groups": found, "edited": edited})


def change(site: Site, request: PageRequest) -> Redirect:
    if name := request.form.get("remove"):
        groups.remove(site, name)
    else:
        groups.set_policy(site, request.form.get("name", "").strip(), request.form.get("policy", "").strip())
    return Redirect("groups")


def devices(site: Site, request: PageRequest) -> Page:
    """The number of devices in a group. The page requests it automatically."""
    which = policy.compile(groups.policy(site, request.query.get("name", "")))
    return Page("group-devices.html", groups.count_devices(site, which))
