"""What commands print: JSON or a table, with counts and times in words."""

import json as json_module
import sys
import time
from collections.abc import Iterable
from typing import Any

import click

from .printable import printable


def print_json(found: Any) -> None:
    click.echo(json_module.dumps(found, indent=2))


def ago(then_s: int | None) -> str:
    """A time in words, such as `3 h ago` or `never`."""
    if then_s is None:
        return "never"
    seconds = max(0, int(time.time()) - then_s)
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return "%d %s ago" % (seconds // unit, name)
    return "%d s ago" % seconds


def pluralize(n: int, noun: str) -> str:
    """The number and its noun: `1 device`, `2 devices`."""
    return "%d %s%s" % (n, noun, "" if n == 1 else "s")


def print_table(title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print a table. Text in cells is printed literally: markup and control characters are escaped."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(printable(title)), title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape(printable(str(cell))) for cell in row))
    width = None if sys.stdout.isatty() else 200  # rich assumes that a pipe is 80 columns wide
    Console(width=width).print(table)
