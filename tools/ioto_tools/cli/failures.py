"""What `ioto device show` and `ioto updates show` print about failures and about a board's health."""

from __future__ import annotations

import json as json_module
from typing import TYPE_CHECKING

import click

from ioto_tools.cloud.rules import board_health

from .output import ago, pluralize, print_table
from .printable import printable

if TYPE_CHECKING:
    from ioto_tools.cloud.storage.tables import Row


def print_health(health: Row) -> None:
    """Print the health of a board, from overview.device(); nothing if it has sent none."""
    rows = [
        (name, json_module.dumps(value), board_health.NUMBERS[name][2])
        for name, value in health.items()
        if name in board_health.NUMBERS
    ]
    if resets := health.get("resets"):
        words = ", ".join("%s %d" % each for each in resets.items())
        rows.append(("resets", words, "starts since the check-in before, by their cause"))
    rows += [(name, json_module.dumps(value), "from the application") for name, value in health.get("app", {}).items()]
    if rows:
        print_table("Health", ("name", "value", "meaning"), rows)


def print_failures(failures: list[Row]) -> None:
    """Print the failures of a device, newest first, with their tracebacks and log lines."""
    for each in failures:
        words = [each["version"] or "", each["state"], "attempt %d" % each["attempt"] if each["attempt"] else ""]
        words += [each["reason"] if each["reason"] != each["state"] else ""]
        words += ["reset: " + each["reset"] if each["reset"] else "", ago(each["at_s"])]
        click.echo(printable("Failure: " + ", ".join(filter(None, words))))
        _print_texts(each)


def print_groups(groups: list[Row]) -> None:
    """Print the failures of an update by reason and cause, from overview.release_failures()."""
    for each in groups:
        words = [each["reason"] or each["example"]["state"], each["cause"]]
        last = "last one %s, such as on %s" % (ago(each["last_s"]), each["example"]["device"])
        click.echo(
            printable(
                "Failure on %s: %s (%s)" % (pluralize(each["devices"], "device"), ": ".join(filter(None, words)), last)
            )
        )
        _print_texts(each["example"])


def _print_texts(failure: Row) -> None:
    for title, name in (("traceback", "trace"), ("log", "log")):
        if failure[name]:
            click.echo("  %s:" % title)
            for line in printable(failure[name]).split("\n"):
                click.echo("    " + line)
