"""The options of `ioto devices` that select devices: one for each parameter of the filter."""

from collections.abc import Callable
from typing import Any

import click

from ioto_tools.cloud.lists.device_filter import PARAMETERS, SORTS

from .options import RenamedOption

_METAVARS = {
    "product": "PRODUCT", "release": "UPDATE", "state": "STATE", "reason": "REASON", "changed": "DURATION",
    "version": "SEMVER", "older": "DURATION", "newer": "DURATION", "registered": "DURATION", "group": "GROUP",
    "property": "NAME=VALUE", "policy": "EXPR",
}  # fmt: skip
_YES_NO = ("silent", "claimed")


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options, in the order of PARAMETERS, and `--sort`. The names of their values are the parameters."""
    command = click.option("--sort", type=click.Choice(SORTS), help="Order of the list; with -, descending.")(command)
    for name, words in reversed(PARAMETERS.items()):
        more: dict[str, Any] = {"metavar": _METAVARS.get(name, "TEXT")}
        if name in _YES_NO:
            more = {"type": click.Choice(("yes", "no"))}
        elif name == "policy":
            more |= {"cls": RenamedOption, "was": "--where"}
        help = "Only devices %s." % words.replace("`release`", "--release")
        command = click.option("--" + name, name, help=help, **more)(command)
    return command


def pop_filter(options: dict[str, Any]) -> dict[str, str | None]:
    """Remove the filter's parameters from the values of a command's options; return them."""
    return {name: options.pop(name) for name in (*PARAMETERS, "sort")}
