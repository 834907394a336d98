"""What the commands about a site share: its folder, JSON or a table, moments as people say them."""

import getpass
import json as json_module
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from ioto import duration

from ioto_tools.cloud.http.errors import CloudError, Unavailable
from ioto_tools.cloud.site.site import Site

from .printable import printable

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


class Duration(click.ParamType):
    """`90`, `24 hrs`, `3 days`: whole seconds."""

    name = "DURATION"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> int:
        try:
            return duration.parse(value)
        except ValueError as e:
            self.fail("%s: %s" % (value, e), param, context)


@contextmanager
def opened(data: str, make: bool = False) -> Iterator[Site]:
    """The site in `data`, closed afterwards; its errors as click shows them."""
    site = None
    try:
        site = Site(data, make=make)
        site.who = "command line %s" % _user()
        yield site
    except CloudError as e:
        raise click.ClickException(printable(str(e))) from e
    except Unavailable as e:
        raise click.ClickException("%s; try again" % e) from e
    finally:
        if site:
            site.close()


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's number without a name
        return "?"


def printed(found: Any) -> None:
    click.echo(json_module.dumps(found, indent=2))


def ago(then_s: int | None) -> str:
    """A moment as people say it."""
    if then_s is None:
        return "never"
    seconds = max(0, int(time.time()) - then_s)
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return "%d %s ago" % (seconds // unit, name)
    return "%d s ago" % seconds


def counted(n: int, noun: str) -> str:
    """The number with its noun: `1 device`, `2 devices`."""
    return "%d %s%s" % (n, noun, "" if n == 1 else "s")


def shown(title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """A table; what devices and operators wrote is never taken for markup, nor obeyed by the terminal."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(printable(title)), title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape(printable(str(cell))) for cell in row))
    wide = None if sys.stdout.isatty() else 200  # in a pipe, whole lines
    Console(width=wide).print(table)
