"""Devices: a page of them at a time, and everything about one."""

from .. import control, fleet
from .answers import Moved, Page, to


def index(site, asked):
    return Page("devices.html", {"devices": fleet.devices(site)})


def show(site, asked):
    return Page("device.html", {"device": fleet.device(site, asked.query.get("id", ""))})


def act(site, asked):
    id = asked.form.get("id", "")
    control.remove(site, id)
    return Moved(to("device", id=id))
