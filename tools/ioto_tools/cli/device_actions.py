"""The options of `ioto devices` that change all devices of the list."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ioto_tools.cloud.lists import bulk

from .output import pluralize

if TYPE_CHECKING:
    from ioto_tools.cloud.site.site import Site

_HELP = {
    "retry": "Let the devices of the list on which the update of --release failed, or that refused it, try it again.",
    "claim": "Claim the unclaimed devices of the list.",
    "remove": "Remove the devices of the list.",
    "pin": "Pin the devices of the list to this version.",
    "unpin": "Unpin the pinned devices of the list.",
}
_DONE = {"retry": "offered it again", "claim": "claimed", "remove": "removed", "pin": "pinned", "unpin": "unpinned"}


def action_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for each action."""
    for action, help in reversed(_HELP.items()):
        kind: dict[str, Any] = {"metavar": "SEMVER"} if action == "pin" else {"is_flag": True}
        command = click.option("--" + action, "do_" + action, help=help, **kind)(command)
    return command


def pop_action(options: dict[str, Any]) -> tuple[str, str | None] | None:
    """Remove the actions from the values of a command's options; return (action, version to pin) or None."""
    given = {action: value for action in _HELP if (value := options.pop("do_" + action))}
    if len(given) > 1:
        raise click.UsageError("give one of %s" % ", ".join("--" + action for action in given))
    return next(((action, value if action == "pin" else None) for action, value in given.items()), None)


def change_devices(site: Site, prepared: bulk.Bulk, yes: bool) -> None:
    """Count the devices, ask, and change them. Ctrl-C stops after the current batch."""
    n, after = 0, ""
    while after is not None:
        found = bulk.count(site, prepared, after)
        n, after = n + found["found"], found["after"]
    if not n:
        click.echo("no device of the list needs this")
        return
    if not yes:
        click.confirm("%s: %s. Continue?" % (prepared.action, pluralize(n, "device")), abort=True)
    done = {"run": None, "devices": 0, "after": ""}
    try:
        with click.progressbar(length=n, label=prepared.action, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
            while done["after"] is not None:
                before = done["devices"]
                done = bulk.change(site, prepared, done["run"], done["after"])
                bar.update(done["devices"] - before)
    except KeyboardInterrupt:
        raise click.ClickException("stopped: %s %s, the others are not changed" % (
            pluralize(done["devices"], "device"), _DONE[prepared.action])) from None  # fmt: skip
    click.echo("%s %s" % (pluralize(done["devices"], "device"), _DONE[prepared.action]))
