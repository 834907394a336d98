"""`ioto publish`: a thin wrapper around ioto_tools.cloud."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from ioto.errors import UpdateError

from ioto_tools.cloud.operators import overview
from ioto_tools.cloud.releases import publish as publishing
from ioto_tools.cloud.releases import signing_keys, term_warnings
from ioto_tools.cloud.rules import terms
from ioto_tools.cloud.rules.selection import REASONS_NOT_OFFERED
from ioto_tools.image import release

from .keys import extracted_application, manifest_options, private_key, signed_file
from .options import RenamedOption, data_option, json_option
from .output import pluralize, print_json, print_table
from .rollout_options import pop_terms, print_warnings, resolve_group, terms_options
from .site import open_site

if TYPE_CHECKING:
    from ioto_tools.cloud.site.site import Site
    from ioto_tools.cloud.storage.tables import Row


@click.command()
@click.argument("image", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--product",
    metavar="PRODUCT",
    help="Name or id of the product; `ioto product new` creates one. Not needed for a signed IMAGE.",
)
@click.option(
    "--version",
    metavar="SEMVER",
    help="Version of the release, such as 1.4.0; devices accept only a version higher than theirs. "
    "Not needed for a signed IMAGE.",
)
@click.option(
    "--key", type=click.Path(exists=True, dir_okay=False), help="Sign IMAGE with the private key in this file."
)
@click.option("--signed", is_flag=True, help="Refuse IMAGE unless it is signed.")
@click.option("--description", default="", metavar="TEXT", help="What is new, shown by `ioto updates`.")
@click.option(
    "--disabled", is_flag=True, help="Publish IMAGE, but do not offer it to devices before `ioto updates enable`."
)
@click.option(
    "--require-approval",
    "approve_by_hand",
    cls=RenamedOption,
    was="--approve-by-hand",
    is_flag=True,
    help="Publish IMAGE, but do not offer it to devices before `ioto updates approve`.",
)
@click.option(
    "--begin-at-once",
    is_flag=True,
    help="Offer IMAGE to devices before its packed files are made. Otherwise, it waits for them, an hour at most.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Publish nothing; show how many stored devices would be offered it, and why others not.",
)
@terms_options
@manifest_options
@data_option
@json_option
def publish(
    image: str,
    product: str | None,
    version: str | None,
    key: str | None,
    signed: bool,
    description: str,
    disabled: bool,
    approve_by_hand: bool,
    begin_at_once: bool,
    dry_run: bool,
    data: str,
    json: bool,
    **more: Any,
) -> None:
    """Publish the file IMAGE as an update for the devices of a product that run a lower version.

    The options below can restrict which devices are offered it, how many, and when.

    IMAGE may be signed by `ioto sign`, or here with --key. Boards that have release keys refuse an unsigned IMAGE.

    IMAGE is the application alone, such as micropython.bin of a MicroPython build. From a whole firmware .bin,
    which begins with a bootloader, the application is extracted. It is checked, copied into the site and offered
    from then on; a running server needs no restart. A published version never changes: different content with the
    same version is refused, and publishing the same content again has no effect.
    """
    rollout = pop_terms(more)
    product, version, is_signed = _identify(image, product, version)
    if signed and not (is_signed or key):
        raise click.ClickException("%s: not signed: sign it with `ioto sign`, or give --key" % image)
    if not key and any(more[name] for name in more if name != "any_file"):
        raise click.UsageError(
            "--minimum, --expires, --allow-downgrade and --downgrade-from need a signature: give "
            "--key, or use these options with `ioto sign`"
        )
    for doubt in terms.version_warnings(version):
        click.echo("Warning: " + doubt, err=True)
    with open_site(data) as site, _file_to_publish(site, image, key, product, version, more, not dry_run) as path:
        arguments = {"description": description, "any_file": more["any_file"], "said": resolve_group(site, rollout)}
        with _progress_bar(image, os.path.getsize(path), shown=not json) as advance:
            if dry_run:
                return _print_dry_run(
                    publishing.dry_run(site, path, product, version, progress=advance, **arguments), json
                )
            arguments.update(enabled=not disabled, by_hand=approve_by_hand, begin_at_once=begin_at_once)
            published, new = publishing.publish(site, path, product, version, progress=advance, **arguments)
        found = overview.update(site, published["id"])
        warnings = term_warnings.of_update(site, found)
    if json:
        print_json(dict(found, new=new))
    else:
        _print_published(found, new)
        print_warnings(warnings)


def _print_published(found: Row, new: bool) -> None:
    what = "published" if new else "already published:"
    click.echo(
        "%s %s %s, %d bytes, SHA-256 %s" % (what, found["product"], found["version"], found["size"], found["checksum"])
    )
    for command, waits in (("enable", not found["enabled"]), ("approve", found["state"] == "awaiting")):
        if waits:
            click.echo("not offered yet: `ioto updates %s %s@%s`" % (command, found["product"], found["version"]))
    if found["status"] == "packing":
        click.echo("not offered yet: its packed files are being made; --begin-at-once does not wait for them")


def _print_dry_run(found: dict[str, Any], json: bool) -> None:
    if json:
        return print_json(found)
    offered = found["found"].get("offered", {"count": 0})["count"]
    click.echo("%d of %s would be offered it; nothing was published" % (offered, pluralize(found["devices"], "device")))
    rows = [
        (each["count"], REASONS_NOT_OFFERED.get(why, why), ", ".join(each["examples"]))
        for why, each in found["found"].items()
    ]
    print_table("Devices", ("devices", "because", "such as"), rows)
    print_warnings(found["doubts"])


def _identify(image: str, product: str | None, version: str | None) -> tuple[str, str, bool]:
    """(product, version, True if the image is signed). Missing options are taken from the signed manifest."""
    try:
        found = release.read(image)
    except UpdateError as e:
        raise click.ClickException("%s: %s: sign it again with `ioto sign`" % (image, e)) from e
    signed = found[0] if found else {}
    values: list[str] = []
    for name, given in (("product", product), ("version", version)):
        value = given or signed.get(name)
        if not value:
            raise click.UsageError("--%s is missing: only a signed image contains it" % name)
        values.append(value)
    return values[0], values[1], bool(found)


@contextmanager
def _file_to_publish(
    site: Site, image: str, key: str | None, product: str, version: str, more: dict[str, Any], remember: bool
) -> Iterator[str]:
    """The file `image`, or with a key, a temporary signed file made from it.

    `remember`: add the public key to the product's keys after the block.
    """
    if not key:
        with extracted_application(image, more["any_file"]) as path:
            yield path
        return
    owner, private = publishing.product_of(site, product), private_key(key)
    with signed_file(image, private, site.data, owner["id"], version, **more) as path:
        yield path
    if remember:
        signing_keys.add(site, owner["id"], private.public_key())


@contextmanager
def _progress_bar(image: str, size: int, shown: bool) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn()
    with Progress(*columns, console=console, transient=True, disable=not (shown and console.is_terminal)) as progress:
        task = progress.add_task(escape(str(image)), total=size)
        yield lambda n: progress.advance(task, n)
