"""`ioto publish`, `ioto updates`: thin, over ioto_tools.cloud."""

import os
from contextlib import contextmanager

import click
from ioto.errors import UpdateError

from ioto_tools.cloud import fleet
from ioto_tools.cloud import publish as publishing
from ioto_tools.image import release

from .keys import manifest_options
from .keys import signed as signed_file
from .site import data_option, json_option, opened, printed, product_option, shown

# ---- ioto publish


@click.command()
@click.argument("image", type=click.Path(exists=True, dir_okay=False))
@click.option("--product", metavar="PRODUCT", help="Its name or id; `ioto product new` makes one. A signed IMAGE says it itself.")
@click.option("--version", metavar="SEMVER", help="Such as 1.4.0; devices take what is higher than theirs. A signed IMAGE says it itself.")
@click.option("--key", type=click.Path(exists=True, dir_okay=False), help="Sign IMAGE with the private key in this file.")
@click.option("--signed", is_flag=True, help="Refuse IMAGE unless it is signed.")
@click.option("--description", default="", metavar="TEXT", help="What is new, for the people who read `ioto updates`.")
@click.option("--disabled", is_flag=True, help="Publish, but offer it to nobody before `ioto updates enable`.")
@manifest_options
@data_option
@json_option
def publish(image, product, version, key, signed, description, disabled, data, json, **more):
    """Publish the file IMAGE as an update, for every device of the product that runs a lower version.

    IMAGE comes signed out of `ioto sign`, or is signed here with --key, or is not signed: then boards that have keys refuse it.

    IMAGE is the application alone, as MicroPython's build leaves it in micropython.bin, not the whole-flash file that
    begins with a bootloader. It is checked, copied into the site and offered from then on; a running server needs no
    restart. A version never changes: publishing other content under it is refused, the same content again does nothing.
    """
    product, version, is_signed = _said(image, product, version)
    if signed and not (is_signed or key):
        raise click.ClickException("%s: it is not signed: `ioto sign` it, or give --key" % image)
    if not key and any(more[name] for name in more if name != "any_file"):
        raise click.UsageError("--minimum, --expires, --allow-downgrade are signed: give --key, or give them to `ioto sign`")
    with opened(data) as site, _sealed(site, image, key, product, version, more) as path:
        with _bar(image, os.path.getsize(path), shown=not json) as advance:
            made, new = publishing.publish(site, path, product, version, description, more["any_file"], not disabled, advance)
        found = next(each for each in fleet.updates(site) if each["update"] == made["id"])
    if json:
        printed(dict(found, new=new))
        return
    what = "published" if new else "was published already:"
    click.echo("%s %s %s, %d bytes, SHA-256 %s" % (what, found["product"], found["version"], found["size"], found["checksum"]))
    if not found["enabled"]:
        click.echo("not offered yet: `ioto updates enable %s@%s`" % (found["product"], found["version"]))


def _said(image, product, version):
    """(product, version, is it signed?), from the manifest where the command does not say them."""
    try:
        found = release.read(image)
    except UpdateError as e:
        raise click.ClickException("%s: %s: sign it again with `ioto sign`" % (image, e)) from e
    said = found[0] if found else {}
    product, version = product or said.get("product"), version or said.get("version")
    for name, value in (("--product", product), ("--version", version)):
        if not value:
            raise click.UsageError("%s is missing: only a signed image says it itself" % name)
    return product, version, bool(found)


@contextmanager
def _sealed(site, image, key, product, version, more):
    """`image`, or with a key the signed file made of it, gone afterwards."""
    if not key:
        yield image
        return
    owner = publishing.product_of(site, product)
    with signed_file(image, key, site.data, owner["id"], version, **more) as path:
        yield path


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
