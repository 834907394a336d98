"""`ioto cloud migrate`, `ioto cloud backup`, `ioto cloud restore`: thin wrappers around ioto_tools.cloud."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from ioto_tools.cloud.http.errors import CloudError, Unavailable

from .options import data_option, json_option
from .output import print_json

if TYPE_CHECKING:
    from ioto_tools.cloud.site.copying import Copied

_folder = click.Path(file_okay=False)


@click.command()
@data_option
@click.option(
    "--to",
    required=True,
    type=_folder,
    metavar="DIR",
    help="Folder of the new site; its site.toml says where the data is stored.",
)
@json_option
def migrate(data: str, to: str, json: bool) -> None:
    """Move the whole site: from its folder to PostgreSQL and S3, back, or to another server.

    Stop the servers of the site first. Every table and image is compared afterwards. After an interruption, run
    the same command again to continue. The old site is not changed.
    """
    from ioto_tools.cloud.site import backup

    with _progress_bars(json) as progress:
        copied = backup.migrate(data, to, progress)
    _print_summary(copied, json, "moved to %s: serve it with --data %s from now on" % (to, to))


@click.command()
@click.argument("folder", type=_folder, metavar="DIR")
@data_option
@json_option
def backup(folder: str, data: str, json: bool) -> None:
    """Copy the whole site, in a consistent state, to the new folder DIR; servers may keep running.

    Keep the copy private: it contains the keys that sign links and webhooks.
    """
    from ioto_tools.cloud.site import backup

    with _progress_bars(json) as progress:
        copied = backup.backup(data, folder, progress)
    _print_summary(copied, json, "backed up to %s" % folder)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False), metavar="DIR")
@data_option
@json_option
def restore(folder: str, data: str, json: bool) -> None:
    """Create a site from the backup in DIR: in the new folder --data, or where the site.toml in that folder says."""
    from ioto_tools.cloud.site import backup

    with _progress_bars(json) as progress:
        copied = backup.restore(folder, data, progress)
    _print_summary(copied, json, "restored to %s" % data)


def _print_summary(copied: Copied, json: bool, words: str) -> None:
    if json:
        print_json(copied)
        return
    rows = sum(table["rows"] for table in copied["tables"].values())
    click.echo(
        "%d rows of %d tables, %d images of %d bytes: all verified"
        % (rows, len(copied["tables"]), copied["images"], copied["bytes"])
    )
    click.echo(words)


@contextmanager
def _progress_bars(json: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Yield progress(what, done, total), which draws bars on a terminal. The site's errors become click errors."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    bars = {}
    try:
        with Progress(console=console, disable=json or not console.is_terminal) as display:

            def progress(what: str, done: int, total: int) -> None:
                if what not in bars:
                    bars[what] = display.add_task(what, total=total)
                display.update(bars[what], completed=done)

            yield progress
    except (CloudError, Unavailable) as e:
        raise click.ClickException(str(e)) from e
