"""`ioto webhook`: thin, over ioto_tools.cloud.webhooks."""

import asyncio
import json as json_module

import click

from .output import ago, json_option, print_json, print_table
from .printable import printable
from .site import data_option, open_site


@click.group()
def webhook() -> None:
    """Tell other programs what happens: releases that are published or stop, devices that are removed, and so on."""


@webhook.command("new")
@click.argument("url")
@click.option(
    "--event",
    "events",
    multiple=True,
    metavar="NAME",
    help="Only these, such as release.stopped; may be given more than once.",
)
@data_option
@json_option
def webhook_new(url: str, events: tuple[str, ...], data: str, json: bool) -> None:
    """Post every event to URL from now on, and print the secret that signs them, once."""
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
    """List the webhooks: where to, what, what waits, and what went wrong last."""
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
    print_table("Webhooks", ("id", "url", "events", "waiting", "last told", "error"), rows)


@webhook.command("remove")
@click.argument("id")
@data_option
def webhook_remove(id: str, data: str) -> None:
    """Remove webhook ID, and what it has not been told yet."""
    from ioto_tools.cloud.operators import webhooks

    with open_site(data) as site:
        webhooks.remove(site, id)
    click.echo("webhook %s removed" % id)


@webhook.command("test")
@click.argument("id")
@data_option
def webhook_test(id: str, data: str) -> None:
    """Post an event webhook.test to webhook ID, here and now, and say what it answered."""
    from ioto_tools.cloud.operators import webhook_delivery, webhooks

    with open_site(data) as site:
        found = site.database.read(webhooks.known, id)
        event = {
            "id": 0,
            "at_s": site.now_s(),
            "who": site.who,
            "action": "webhook.test",
            "subject": id,
            "detail": json_module.dumps({}),
        }
        error = asyncio.run(webhook_delivery.post({**found, **event}, site.now_s()))
    if error:
        raise click.ClickException(printable("webhook %s: %s: %s" % (id, found["url"], error)))
    click.echo("webhook %s: %s has taken it" % (id, found["url"]))
