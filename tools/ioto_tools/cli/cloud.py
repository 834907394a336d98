"""`ioto cloud serve`, `ioto publish`, `ioto product`, `ioto devices`, `ioto device`, `ioto updates`: thin, over ioto_tools.cloud."""

import json as json_module
import os
import sys
import time
from contextlib import contextmanager

import click
import sqlalchemy.exc

from ioto_tools.cloud import fleet, provision
from ioto_tools.cloud import publish as publishing
from ioto_tools.cloud.refusal import CloudError, Refusal
from ioto_tools.cloud.site import Site

data_option = click.option(
    "--data",
    default="ioto-cloud",
    show_default=True,
    envvar="IOTO_DATA",
    show_envvar=True,
    type=click.Path(file_okay=False),
    help="Folder of the site: its database and its images.",
)
json_option = click.option("--json", is_flag=True, help="Print JSON for programs instead of a table for people.")
product_option = click.option("--product", metavar="PRODUCT", help="Only this product (its name or id).")


@contextmanager
def opened(data, make=False):
    """The site in `data`, closed afterwards; its errors as click shows them."""
    site = None
    try:
        site = Site(data, make=make)
        yield site
    except CloudError as e:
        raise click.ClickException(str(e)) from e
    except sqlalchemy.exc.OperationalError as e:
        raise click.ClickException("%s: %s: is the disk full, or another command at work? Try again" % (data, e.orig)) from e
    finally:
        if site:
            site.close()


def printed(found):
    click.echo(json_module.dumps(found, indent=2))


def ago(then_s):
    """A moment as people say it."""
    if then_s is None:
        return "never"
    seconds = max(0, int(time.time()) - then_s)
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return "%d %s ago" % (seconds // unit, name)
    return "%d s ago" % seconds


def shown(title, columns, rows):
    """A table; what devices and operators wrote is never taken for markup."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    wide = None if sys.stdout.isatty() else 200  # in a pipe, whole lines
    Console(width=wide).print(table)


# ---- ioto cloud


@click.group()
def cloud():
    """Run the device cloud."""


@cloud.command()
@data_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for boards on your network.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0: any free port.")
@click.option("--public-url", metavar="URL", help="How devices reach this cloud, if not as they ask: behind a proxy, https://...")
@json_option
def serve(data, host, port, public_url, json):
    """Serve devices until Ctrl-C: registration, check-ins, reports, images.

    Makes the folder --data at the first start. Publish into it from another terminal while the server runs.
    """
    from ioto_tools.cloud.app import create_app  # only this command needs a web server
    from ioto_tools.cloud.server import serve as run

    def ready(port):
        address = "http://%s:%d" % ("[%s]" % host if ":" in host else host, port)
        if json:
            printed({"address": address, "data": str(data), "public_url": public_url})
        else:
            click.echo("device cloud at %s, data in %s (Ctrl-C ends it)" % (address, data))
        sys.stdout.flush()

    try:
        app = create_app(data, public_url)
        try:
            run(app, host, port, ready)
        finally:
            app.state.site.close()
    except (CloudError, sqlalchemy.exc.OperationalError) as e:
        raise click.ClickException(str(e)) from e


# ---- ioto product


@click.group()
def product():
    """Make and list products: what a fleet of boards with the same firmware is called."""


@product.command("new")
@click.argument("name")
@click.option("--id", "id", metavar="ID", help="Give the id instead of drawing one, to move a product from another cloud.")
@data_option
@json_option
def product_new(name, id, data, json):
    """Make the product NAME and print its id.

    The id goes into ioto.json of every board as "product": with it a board registers and gets a token of its own. Anybody
    who knows it can register boards, so do not publish it.
    """
    with opened(data, make=True) as site:
        made = publishing.new_product(site, name, id)
    if json:
        printed(made)
    else:
        click.echo('product %s: put this into ioto.json:  "product": "%s"' % (made["name"], made["id"]))


@product.command("list")
@data_option
@json_option
def product_list(data, json):
    """List the products with their ids and how many devices and updates they have."""
    with opened(data) as site:
        found = fleet.products(site)
    if json:
        printed(found)
    else:
        rows = [(each["name"], each["id"], each["devices"], each["updates"]) for each in found]
        shown("Products", ("name", "id", "devices", "updates"), rows)


# ---- ioto publish


@click.command()
@click.argument("image", type=click.Path(exists=True, dir_okay=False))
@click.option("--product", required=True, metavar="PRODUCT", help="Its name or id; `ioto product new` makes one.")
@click.option("--version", required=True, metavar="SEMVER", help="Such as 1.4.0; devices take what is higher than theirs.")
@click.option("--description", default="", metavar="TEXT", help="What is new, for the people who read `ioto updates`.")
@click.option("--disabled", is_flag=True, help="Publish, but offer it to nobody before `ioto updates enable`.")
@click.option("--any-file", is_flag=True, help="IMAGE is no ESP application: a file for Linux devices.")
@data_option
@json_option
def publish(image, product, version, description, disabled, any_file, data, json):
    """Publish the file IMAGE as an update, for every device of the product that runs a lower version.

    IMAGE is the application alone, as MicroPython's build leaves it in micropython.bin, not the whole-flash file that
    begins with a bootloader. It is checked, copied into the site and offered from then on; a running server needs no
    restart. A version never changes: publishing other content under it is refused, the same content again does nothing.
    """
    with opened(data) as site, _bar(image, os.path.getsize(image), shown=not json) as advance:
        made, new = publishing.publish(site, image, product, version, description, any_file, not disabled, advance)
        found = next(each for each in fleet.updates(site) if each["update"] == made["id"])
    if json:
        printed(dict(found, new=new))
        return
    what = "published" if new else "was published already:"
    click.echo("%s %s %s, %d bytes, SHA-256 %s" % (what, found["product"], found["version"], found["size"], found["checksum"]))
    if not found["enabled"]:
        click.echo("not offered yet: `ioto updates enable %s@%s`" % (found["product"], found["version"]))


@contextmanager
def _bar(image, size, shown):
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn()
    with Progress(*columns, console=console, transient=True, disable=not (shown and console.is_terminal)) as progress:
        task = progress.add_task(escape(str(image)), total=size)
        yield lambda n: progress.advance(task, n)


# ---- ioto devices, ioto device


@click.command()
@product_option
@data_option
@json_option
def devices(product, data, json):
    """List the devices: version, last check-in, and how far the last update came."""
    with opened(data) as site:
        found = fleet.devices(site, product)
    if json:
        printed(found)
        return
    rows = [(each["id"], each["product"], each["version"] or "-", ago(each["seen_s"]), _state(each["update"])) for each in found]
    shown("Devices", ("id", "product", "version", "last check-in", "last update"), rows)


def _state(update):
    if update is None:
        return "-"
    words = "%s %s" % (update["version"], update["state"])
    if update["attempt"] > 1:
        words += ", attempt %d" % update["attempt"]
    return words + (": " + update["reason"] if update["reason"] else "")


@click.group()
def device():
    """Show, add or remove one device."""


@device.command("show")
@click.argument("id")
@data_option
@json_option
def device_show(id, data, json):
    """Show what is known of device ID: its last check-in, and every report."""
    with opened(data) as site:
        found = fleet.device(site, id)
    if json:
        printed(found)
        return
    click.echo("%s, product %s%s" % (found["id"], found["product"], ", removed" if found["removed"] else ""))
    click.echo("registered %s (%d times), last check-in %s (%d in all)" % (
        ago(found["registered_s"]), found["registrations"], ago(found["seen_s"]), found["checkins"]))  # fmt: skip
    if found["unknown_reports"]:
        click.echo("%d reports about updates that are not here" % found["unknown_reports"])
    shown("Properties", ("name", "value"), [(json_module.dumps(k)[1:-1], json_module.dumps(v)) for k, v in found["properties"].items()])
    rows = [
        (each["version"], each["attempt"], each["state"], each["reason"] or "-", each["runs"] or "-", ago(each["received_s"]))
        for each in found["reports"]
    ]
    shown("Reports", ("update", "attempt", "state", "reason", "runs", "when"), rows)


@device.command("new")
@click.argument("id")
@click.option("--product", required=True, metavar="PRODUCT", help="Its name or id.")
@data_option
@json_option
def device_new(id, product, data, json):
    """Register device ID by hand and print its token, once.

    For devices that cannot register themselves, such as those with EmbedThis' updater (its --token). Boards with the agent
    need none of this.
    """
    with opened(data) as site:
        found = next((each for each in fleet.products(site) if product in (each["id"], each["name"])), None)
        if found is None:
            raise CloudError("product %s: there is none; `ioto product list` lists them" % product)
        try:
            made = provision.register(site, found["id"], {"id": id}, "")
        except Refusal as e:
            raise CloudError(e.error) from e
    if json:
        printed({"id": id, "product": found["name"], "token": made["token"]})
    else:
        click.echo("device %s, product %s: token %s" % (id, found["name"], made["token"]))


@device.command("remove")
@click.argument("id")
@data_option
def device_remove(id, data):
    """Remove device ID: its token ends, and its id is free for another product.

    The device is told so at its next call and registers again, as any board can that knows its product's id. Its history
    stays.
    """
    with opened(data) as site:
        fleet.remove(site, id)
    click.echo("device %s removed" % id)


# ---- ioto updates


@click.group(invoke_without_command=True)
@product_option
@data_option
@json_option
@click.pass_context
def updates(context, product, data, json):
    """List the published updates: whether they are offered, and how many devices stand where."""
    if context.invoked_subcommand:
        for name, value in (("--product", product), ("--json", json), ("--data", _given(context, "data"))):
            if value:
                raise click.UsageError("%s goes behind the command: ioto updates %s ..." % (name, context.invoked_subcommand))
        return
    with opened(data) as site:
        found = fleet.updates(site, product)
    if json:
        printed(found)
        return
    rows = [
        (each["product"], each["version"], "yes" if each["enabled"] else "no", each["size"], _counts(each["states"]), each["update"], each["description"])
        for each in found
    ]  # fmt: skip
    shown("Updates", ("product", "version", "offered", "bytes", "devices", "update", "description"), rows)


def _given(context, name):
    return context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def _counts(states):
    return ", ".join("%d %s" % (n, state) for state, n in sorted(states.items())) or "-"


def _switch(name, enabled, text):
    @updates.command(name, help=text)
    @click.argument("update")
    @data_option
    @json_option
    def switch(update, data, json):
        with opened(data) as site:
            found = fleet.enable(site, update, enabled)
        if json:
            printed(found)
        else:
            word = "is offered from now on" if enabled else "is offered to no more devices"
            click.echo("%s %s %s" % (found["product"], found["version"], word))


_switch("enable", True, "Offer UPDATE (PRODUCT@VERSION or its id) to the devices that run a lower version.")
_switch(
    "disable",
    False,
    "Offer UPDATE (PRODUCT@VERSION or its id) to no more devices. One that is downloading or has staged it may still apply it.",
)
