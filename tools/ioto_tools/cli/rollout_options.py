"""The options that say who is offered an update, how many, when: of `ioto publish` and `ioto updates set`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click

from ioto_tools.cloud.operators import groups
from ioto_tools.cloud.rules import terms

if TYPE_CHECKING:
    from ioto_tools.cloud.site.site import Site

_OPTIONS = (
    click.option(
        "--policy", metavar="EXPR", help="Which devices it is for (docs/policy.md); none: those with a lower version."
    ),
    click.option(
        "--group",
        metavar="GROUP",
        help="Only for the devices of this group (`ioto groups`), those that --policy holds for too.",
    ),
    click.option("--limit", metavar="N", help="Offer it to so many devices and no more, or none."),
    click.option(
        "--percentage",
        metavar="P",
        help="Offer it to P % of the devices it is for, always the same ones; a higher P adds others.",
    ),
    click.option("--rate", metavar="N", help="Offer it to so many devices in any --period, or none."),
    click.option("--period", metavar="DURATION", help="Period of --rate, such as 10 mins or 1 hour."),
    click.option(
        "--start",
        metavar="DATE",
        help="Offer it from this date on, such as 2026-03-01T08:00+01:00 (UTC without a zone); none: at once.",
    ),
    click.option("--end", metavar="DATE", help="Offer it until this date; none: without end."),
    click.option(
        "--stop",
        metavar="RULE",
        help='"5% after 20": pause it once 20 devices have finished and 5 % of them or more failed; none: never.',
    ),
    click.option(
        "--age",
        metavar="DURATION",
        help="Devices known for less time wait where there is a limit or rate, and do not count for --stop; by "
        "default 1 day.",
    ),
)


def terms_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def pop_terms(more: dict[str, Any]) -> dict[str, Any]:
    """The terms among a command's options, out of `more`; with `group` among them."""
    return {name: more.pop(name) for name in (*terms.TERMS, "group")}


def resolve_group(site: Site, options: dict[str, Any]) -> dict[str, Any]:
    """taken()'s options as terms.read() wants them: a group is its policy."""
    options = dict(options)
    if group := options.pop("group"):
        options["policy"] = groups.both(groups.policy(site, group), options["policy"])
    return options


def print_warnings(doubts: Iterable[str]) -> None:
    """Warn of what is allowed and hardly meant."""
    for doubt in doubts:
        click.echo("Warning: " + doubt, err=True)
