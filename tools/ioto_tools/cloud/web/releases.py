"""One release: where it stands on the devices, and what an operator may do with it."""

from .. import control, fleet
from ..refusal import CloudError
from .answers import Moved, Page, to


def show(site, asked):
    return Page("release.html", {"release": _release(site, asked.query.get("id", ""))})


def _release(site, id):
    found = [release for release in fleet.updates(site) if release["update"] == id]
    if not found:
        raise CloudError("update %s: there is none" % id)
    return found[0]


def act(site, asked):
    id, action = asked.form.get("id", ""), asked.form.get("action")
    control.enable(site, id, action == "enable")
    return Moved(to("release", id=id))
