"""What follows for devices when an update is no longer offered: how many may still apply it, and that number as it goes
down.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from ioto_tools.cloud.operators import overview

from .output import pluralize

if TYPE_CHECKING:
    from ioto_tools.cloud.site.site import Site

POLL_S = 2


def report_unapplied(site: Site, found: dict[str, Any], wait: bool) -> None:
    """Say how many devices may still apply the update (as overview.update() returns it), and with `wait` whenever that
    changes.
    """
    for line in unapplied_lines(found, site.now_s()):
        click.echo(line)
    left = found["unapplied"]["told"]
    if not wait or not left:
        return
    click.echo("waiting until they have dropped it (Ctrl-C ends the waiting, the update stays as it is)")
    try:
        while left:
            time.sleep(POLL_S)
            now = overview.update(site, found["update"])["unapplied"]["told"]
            if now != left:
                click.echo("%s left" % pluralize_devices(now))
            left = now
    except KeyboardInterrupt:
        click.echo(
            "\n%s left; `ioto updates show %s@%s` counts them"
            % (pluralize_devices(left), found["product"], found["version"])
        )


def unapplied_lines(found: dict[str, Any], now_s: int) -> Iterator[str]:
    """What is to be said of devices that may still apply the update."""
    told, strangers, due_s = (found["unapplied"][name] for name in ("told", "strangers", "due_s"))
    if told:
        drops = (
            ""
            if found["status"] == "active"
            else ": each drops it at its next check-in, the last one %s" % _format_due(due_s - now_s)
        )
        yield "%s it staged or in download%s" % (pluralize_devices(told, "has", "have"), drops)
    if strangers:
        yield (
            "%s offered it and can't be made to drop it: the agent does not ask before it applies"
            % pluralize_devices(strangers, "was", "were")
        )


def pluralize_devices(n: int, one: str = "", more: str = "") -> str:
    """As `1 device has`, `2 devices have`: `one` or `more` stands behind the number."""
    return ("%s %s" % (pluralize(n, "device"), one if n == 1 else more)).rstrip()


def _format_due(seconds: int) -> str:
    for unit, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit:
            return "within %d %s" % (-(-seconds // unit), name)
    return "within 2 minutes" if seconds >= 0 else "is overdue"
