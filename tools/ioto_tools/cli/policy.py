"""`ioto policy test`: a thin wrapper around ioto_tools.cloud.policy."""

import json as json_module
from typing import Any

import click
from ioto import json5, semver

from ioto_tools.cloud import policy as language
from ioto_tools.cloud.policy.errors import PolicyError

from .options import RenamedOption, json_option


@click.group()
def policy() -> None:
    """Test distribution policies, the expressions that select the devices for a release."""


@policy.command("test")
@click.argument("expression", metavar="EXPR")
@click.option(
    "--device",
    "file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="JSON or JSON5 file with what the device sends in a check-in; - for standard input.",
)
@click.option(
    "--version",
    cls=RenamedOption,
    was="--update",
    metavar="VERSION",
    help="Version of the release, for update.version and newVersion.",
)
@json_option
def test(expression: str, file: str, version: str | None, json: bool) -> None:
    """Show whether the policy EXPR matches a device, and which of its terms are true.

    A blank EXPR selects devices that run an older version, as for a release without a policy.
    """
    compiled = _compile(expression if expression.strip() else language.DEFAULT_POLICY)
    device, update = _read_device(file), _update_properties(version)
    holds, terms = compiled(device, update), compiled.explain(device, update)
    if json:
        click.echo(
            json_module.dumps(
                {"policy": compiled.text, "holds": holds, "terms": terms, "doubts": compiled.warnings}, indent=2
            )
        )
        return
    click.echo("the policy matches this device" if holds else "the policy does not match this device")
    width = max((len(_one_line(each["term"])) for each in terms), default=0)
    for each in terms:
        values = ", ".join("%s is %s" % (name, json_module.dumps(value)) for name, value in each["values"].items())
        click.echo(
            ("  %-3s  %-*s  %s" % ("yes" if each["holds"] else "no", width, _one_line(each["term"]), values)).rstrip()
        )
    for doubt in compiled.warnings:
        click.echo("Warning: " + doubt, err=True)


def _compile(text: str) -> language.Policy:
    try:
        return language.compile(text)
    except PolicyError as e:
        line = text.split("\n")[e.line - 1][: e.column + 60].replace("\t", " ")
        raise click.ClickException("%s\n  %s\n  %s^" % (e, line, " " * (e.column - 1))) from e


def _read_device(file: str) -> dict[str, Any]:
    with click.open_file(file, "rb") as opened:
        raw = opened.read()
    try:
        found = json5.loads(raw.decode())
    except ValueError as e:
        raise click.ClickException("%s: not JSON: %s" % (file, e)) from e
    if not isinstance(found, dict):
        raise click.ClickException('%s: expected: an object, such as {"id": "K1", "version": "1.0.0"}' % file)
    return found


def _update_properties(version: str | None) -> dict[str, str]:
    if version is not None and not semver.is_valid(version):
        raise click.ClickException("--version %s: expected: SemVer 2.0, such as 1.4.0 or 2.0.0-rc.1" % version)
    return {} if version is None else {"version": version}


def _one_line(text: str) -> str:
    return " ".join(text.split())
