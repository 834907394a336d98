"""The options that say which devices are offered an update, how many, and when (`ioto publish`, `ioto updates set`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click

from ioto_tools.cloud.operators import groups
from ioto_tools.cloud.rules import terms

from .options import RenamedOption

if TYPE_CHECKING:
    from ioto_tools.cloud.site.site import Site

_OPTIONS = (
    click.option(
        "--policy",
        metavar="EXPR",
        help="Offer it to devices that this policy matches (docs/policy.md); none: devices with a lower version.",
    ),
    click.option(
        "--group",
        metavar="GROUP",
        help="Offer it to devices of this group (`ioto groups`) that also match --policy, if it is given.",
    ),
    click.option("--limit", metavar="N", help="Offer it to at most N devices; none: no limit."),
    click.option(
        "--percentage",
        metavar="P",
        help="Offer it to P % of these devices, always the same ones; a higher P adds others.",
    ),
    click.option("--rate", metavar="N", help="Offer it to at most N devices in any --period; none: no limit."),
    click.option("--period", metavar="DURATION", help="Period of --rate, such as 10 mins or 1 hour."),
    click.option(
        "--start",
        metavar="DATE",
        help="Offer it from this date, such as 2026-03-01T08:00+01:00 (UTC without a time zone); none: immediately.",
    ),
    click.option("--end", metavar="DATE", help="Offer it until this date; none: indefinitely."),
    click.option(
        "--stop-rule",
        "stop",
        cls=RenamedOption,
        was="--stop",
        metavar="RULE",
        help='"5% after 20": pause it once 20 devices have finished and 5 % of them or more failed; none: never.',
    ),
    click.option(
        "--stages",
        metavar="STAGES",
        help='"1% 1h, 10% 1d, 100%": offer it to 1 % of these devices for at least an hour, then to 10 % ...; none: no '
        "stages.",
    ),
    click.option(
        "--gate",
        metavar="GATE",
        help='"20 finished, 2% failed, health": begin the next of --stages only when 20 devices have finished in this '
        "one, at most 2 % of all have failed, and the devices' health is not worse than before; none: only the time.",
    ),
    click.option(
        "--minimum-age",
        "age",
        cls=RenamedOption,
        was="--age",
        metavar="DURATION",
        help="Devices that first registered less than this time ago wait if there is a limit or a rate, "
        "and do not count for --stop-rule; by default 1 day.",
    ),
    click.option("--kind", metavar="KIND", help="feature (by default) or security; devices are told."),
    click.option("--notes", metavar="TEXT", help="What is new, for the devices: at most 500 bytes; none: no notes."),
    click.option("--advisory", metavar="URL", help="Link to the security advisory, for the devices; none: no link."),
    click.option(
        "--no-defer-after",
        metavar="DATE",
        help="After this date, the application on a device can no longer postpone a security update; none: it can.",
    ),
)


def terms_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def pop_terms(more: dict[str, Any]) -> dict[str, Any]:
    """Move the rollout options (the terms and `group`) from a command's options `more` into a dict."""
    return {name: more.pop(name) for name in (*terms.TERMS, "group")}


def resolve_group(site: Site, options: dict[str, Any]) -> dict[str, Any]:
    """The options of pop_terms() as terms.parse_terms() expects them: `policy` includes the policy of the group."""
    options = dict(options)
    if group := options.pop("group"):
        options["policy"] = groups.combine(groups.policy(site, group), options["policy"])
    return options


def print_warnings(doubts: Iterable[str]) -> None:
    """Warn about settings that are valid but probably not intended."""
    for doubt in doubts:
        click.echo("Warning: " + doubt, err=True)
