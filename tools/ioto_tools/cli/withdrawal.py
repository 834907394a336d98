"""Prints how many devices may still apply an update that is no longer offered, until no device can."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from ioto_tools.cloud.operators import overview

from .output import pluralize

if TYPE_CHECKING:
    from ioto_tools.cloud.site.site import Site
    from ioto_tools.cloud.storage.tables import Row

POLL_S = 2


def report_unapplied(site: Site, found: Row, wait: bool) -> None:
    """Print how many devices may still apply the update; with `wait`, print it until there are none.

    `found` is the update as overview.update() returns it.
    """
    for line in unapplied_lines(found, site.now_s()):
        click.echo(line)
    left = found["unapplied"]["told"]
    if not wait or not left:
        return
    click.echo("waiting until they have dropped it (Ctrl-C stops the wait and does not change the update)")
    try:
        while left:
            time.sleep(POLL_S)
            now = overview.update(site, found["update"])["unapplied"]["told"]
            if now != left:
                click.echo("%s left" % pluralize_devices(now))
            left = now
    except KeyboardInterrupt:
        click.echo(
            "\n%s left; `ioto updates show %s@%s` shows how many remain"
            % (pluralize_devices(left), found["product"], found["version"])
        )


def unapplied_lines(found: Row, now_s: int) -> Iterator[str]:
    """Sentences about devices that may still apply the update."""
    dropping, keeping, due_s = (found["unapplied"][name] for name in ("told", "strangers", "due_s"))
    if dropping:
        drops = (
            ""
            if found["status"] == "active"
            else ": each drops it at its next check-in, the last one %s" % _format_due(due_s - now_s)
        )
        has = pluralize_devices(dropping, "has staged it or is downloading it", "have staged it or are downloading it")
        yield has + drops
    if keeping:
        were = pluralize_devices(keeping, "was", "were")
        yield (
            were
            + " offered it and can't be made to drop it: the agent does not ask the cloud before it applies an update"
        )


def pluralize_devices(n: int, one: str = "", more: str = "") -> str:
    """`1 device has`, `2 devices have`: the number of devices, followed by `one` or `more`."""
    return ("%s %s" % (pluralize(n, "device"), one if n == 1 else more)).rstrip()


def _format_due(seconds: int) -> str:
    for unit, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit:
            return "within %d %s" % (-(-seconds // unit), name)
    return "within 2 minutes" if seconds >= 0 else "is overdue"
