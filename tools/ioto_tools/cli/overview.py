"""`ioto overview`: a thin wrapper around ioto_tools.cloud."""

import shlex

import click

from ioto_tools.cloud.site import fleet_overview

from .options import data_option, json_option
from .output import ago, print_json, print_table
from .printable import printable
from .site import open_site


@click.command()
@data_option
@json_option
def overview(data: str, json: bool) -> None:
    """Show what needs attention, and the fleet in numbers."""
    with open_site(data) as site:
        found = fleet_overview.of_site(site)
    if json:
        print_json(found)
        return
    if not found["attention"]:
        click.echo("Nothing needs attention.")
    for each in found["attention"]:
        click.echo(printable(each["says"]))
        if each["page"] == "devices":
            options = ["--%s %s" % (name, shlex.quote(value)) for name, value in each["query"].items()]
            click.echo("    ioto devices " + printable(" ".join(options)))
    columns = ("devices", "checked_in", "updated", "silent", "unclaimed")
    rows = [(each["name"], *(each[name] for name in columns)) for each in found["products"]]
    titles = ("product", "devices", "checked in today", "updated today", "silent", "not claimed")
    print_table("Fleet", titles, rows)
    rows = [(each["product"], each["version"], each["stage"] or each["status"]) for each in found["releases"]]
    print_table("Newest releases", ("product", "version", "offered"), rows)
    click.echo("last backup: %s, free on the disk: %d MiB" % (ago(found["backed_up_s"]), found["free_bytes"] >> 20))
