"""`ioto webhook`: thin wrappers around ioto_tools.cloud."""

import asyncio

import click

from .options import data_option, json_option
from .output import ago, print_json, print_table
from .printable import printable
from .site import open_site


@click.group()
def webhook() -> None:
    """Send events to other programs: releases that are published or stopped, devices that are removed ..."""


@webhook.command("new")
@click.argument("url")
@click.option(
    "--event",
    "events",
    multiple=True,
    metavar="NAME",
    help="Only this event, such as release.stopped; may be repeated.",
)
@data_option
@json_option
def webhook_new(url: str, events: tuple[str, ...], data: str, json: bool) -> None:
    """Send every event to URL from now on. The secret that signs the events is printed only once, by this command."""
    from ioto_tools.cloud.operators import webhooks

    with open_site(data) as site:
        made = webhooks.new(site, url, events)
    if json:
        print_json(made)
    else:
        click.echo("webhook %s: secret %s" % (made["id"], made["secret"]))


@webhook.command("list")
@data_option
@json_option
def webhook_list(data: str, json: bool) -> None:
    """List the webhooks: URL, events, how many are waiting, and the last error."""
    from ioto_tools.cloud.operators import webhooks

    with open_site(data) as site:
        found = webhooks.listed(site)
    if json:
        print_json(found)
        return
    rows = [
        (
            each["id"],
            each["url"],
            " ".join(each["wanted"]) or "all",
            each["waiting"],
            ago(each["delivered_s"]),
            each["error"] or "-",
        )
        for each in found
    ]
    print_table("Webhooks", ("id", "url", "events", "waiting", "last sent", "error"), rows)


@webhook.command("remove")
@click.argument("id")
@data_option
def webhook_remove(id: str, data: str) -> None:
    """Remove webhook ID, including the events that it has not received yet."""
    from ioto_tools.cloud.operators import webhooks

    with open_site(data) as site:
        webhooks.remove(site, id)
    click.echo("webhook %s removed" % id)


@webhook.command("test")
@click.argument("id")
@data_option
def webhook_test(id: str, data: str) -> None:
    """Send a webhook.test event to webhook ID now, and show whether it was accepted."""
    from ioto_tools.cloud.operators import webhook_delivery, webhooks

    with open_site(data) as site:
        url = site.database.read(webhooks.find, id)["url"]
        error = asyncio.run(webhook_delivery.post_test(site, id))
    if error:
        raise click.ClickException(printable("webhook %s: %s: %s" % (id, url, error)))
    click.echo("webhook %s: %s has accepted the event" % (id, url))
