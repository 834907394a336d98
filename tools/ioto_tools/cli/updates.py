"""`ioto updates`: thin wrappers around ioto_tools.cloud."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ioto_tools.cloud.operators import control, overview, release_files
from ioto_tools.cloud.releases import deletion, term_warnings
from ioto_tools.cloud.rules import stages, update_states

from . import withdrawal
from .failures import print_groups
from .options import data_option, json_option, product_option, yes_option
from .output import ago, print_json, print_table
from .printable import printable
from .release_files import print_files, print_made
from .rollout_options import pop_terms, print_warnings, resolve_group, terms_options
from .site import open_site
from .stages import describe_stage, print_stages

if TYPE_CHECKING:
    from ioto_tools.cloud.site.site import Site
    from ioto_tools.cloud.storage.tables import Row


_NAMED_HELP = """

    UPDATE is PRODUCT@VERSION or its id."""


@click.group(invoke_without_command=True)
@product_option
@click.option("--archived", is_flag=True, help="List the archived updates too.")
@data_option
@json_option
@click.pass_context
def updates(context: click.Context, product: str | None, archived: bool, data: str, json: bool) -> None:
    """List the published updates: whether they are offered, and how many devices are in each state."""
    if context.invoked_subcommand:
        given = _is_given(context, "data")
        for name, value in (("--product", product), ("--archived", archived), ("--json", json), ("--data", given)):
            if value:
                raise click.UsageError(
                    "put %s after the command: ioto updates %s ..." % (name, context.invoked_subcommand)
                )
        return
    with open_site(data) as site:
        found = overview.updates(site, product, archived)
    if json:
        print_json(found)
        return
    rows = [
        (
            each["product"],
            each["version"],
            _offered_word(each),
            each["size"],
            _format_counts(each["states"]),
            each["update"],
            each["description"],
        )
        for each in found
    ]
    print_table("Updates", ("product", "version", "offered", "bytes", "devices", "update", "description"), rows)


def _offered_word(update: Row) -> str:
    if update["status"] == "disabled":
        return "no"
    return "yes" if update["status"] == "active" else update["status"]


def _is_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def _format_counts(states: dict[str, int]) -> str:
    return ", ".join("%d %s" % (n, state) for state, n in sorted(states.items())) or "-"


@updates.command("show")
@click.argument("update")
@data_option
@json_option
def show(update: str, data: str, json: bool) -> None:
    """Show UPDATE: its rollout settings, its devices by state, its files, who changed it, and its failures by cause.

    UPDATE is PRODUCT@VERSION or its id.
    """
    with open_site(data) as site:
        found, now_s = overview.update(site, update), site.now_s()
        groups = overview.release_failures(site, found["update"])
        files = release_files.of_release(site, found["update"])
        warnings = term_warnings.of_update(site, found)
    if json:
        print_json({**found, **files, "failures": groups})
        return
    signed = "signed" if found["signed"] else "not signed"
    click.echo(
        "%s %s, %s, %d bytes, update %s" % (found["product"], found["version"], signed, found["size"], found["update"])
    )
    click.echo(
        "%s, published %s, offered to %s so far"
        % (found["status"], ago(found["created_s"]), withdrawal.pluralize_devices(found["granted"]))
    )
    for line in withdrawal.unapplied_lines(found, now_s):
        click.echo(line)
    print_warnings(warnings)
    if found["stops"]:
        click.echo(
            "its stop rule still applies: unless --stop-rule is changed, it is paused again as soon as "
            "another device finishes"
        )
    print_table(
        "Terms",
        ("term", "value"),
        [(name, "none" if value is None else value) for name, value in found["terms"].items()],
    )
    print_stages(found)
    print_table("Devices", ("state", "devices"), sorted(found["states"].items()))
    print_files(files)
    rows = [
        (ago(each["at_s"]), each["who"], each["action"], json_module.dumps(each["detail"])) for each in found["audit"]
    ]
    print_table("Audit", ("when", "who", "what", "detail"), rows)
    print_groups(groups)


@updates.command("set")
@click.argument("update")
@terms_options
@data_option
@json_option
def set_terms(update: str, data: str, json: bool, **more: Any) -> None:
    """Change the rollout settings of UPDATE (PRODUCT@VERSION or its id).

    `none` removes a setting; settings that are not given do not change. A device that was offered the update keeps it
    if --limit, --percentage or --rate is lowered; a changed policy, start or end applies to this device too. To stop
    all devices, pause or cancel the update.

    With new --stages, an update stays in its stage if the new plan has a stage with the same percentage; otherwise
    it begins the first stage. --stages none keeps the percentage of the current stage.
    """
    options = pop_terms(more)
    if all(value is None for value in options.values()):
        raise click.UsageError("nothing to change: give an option, such as --limit 100")
    with open_site(data) as site:
        found = control.set_terms(site, update, resolve_group(site, options))
        warnings = term_warnings.of_update(site, found)
    if json:
        print_json(found)
        return
    print_warnings(warnings)
    words = ", ".join("%s %s" % (name, value) for name, value in found["terms"].items() if value is not None)
    click.echo("%s %s: %s" % (found["product"], found["version"], words))


@updates.command("advance", help="Begin the next stage of UPDATE now, whatever its gate waits for." + _NAMED_HELP)
@click.argument("update")
@click.option(
    "--stage",
    type=click.IntRange(1, stages.MOST),
    help="Only if the update is in this stage: two operators who advance stage 1 advance it once.",
)
@data_option
@json_option
def advance(update: str, stage: int | None, data: str, json: bool) -> None:
    with open_site(data) as site:
        found = control.advance(site, update, stage)
    _print_changed(found, "is " + describe_stage(found), json)


@updates.command("retry")
@click.argument("update")
@click.option("--device", "ids", multiple=True, metavar="ID", help="Only this device; may be repeated.")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(sorted(update_states.RETRYABLE)),
    help="Only devices in this state; may be repeated.",
)
@data_option
@json_option
def retry(update: str, ids: tuple[str, ...], states: tuple[str, ...], data: str, json: bool) -> None:
    """Let devices on which UPDATE failed, or that refused it, try it again.

    UPDATE is PRODUCT@VERSION or its id. Each of these devices is offered it again at its next check-in, with
    all attempts. An agent that has recorded the update as failed tries it again too. Earlier outcomes no longer
    count for the stop rule. Devices that refused the update give their rollout slots back first.
    """
    with open_site(data) as site:
        n = control.retry(site, update, ids, states)
        found = overview.update(site, update)
    if json:
        print_json({**found, "retried": n})
    else:
        click.echo(
            "%s %s: %s"
            % (
                found["product"],
                found["version"],
                withdrawal.pluralize_devices(n, "is offered it again", "are offered it again"),
            )
        )
        if found["status"] != "active":
            click.echo("Warning: no device is offered the update now, because it is %s" % found["status"], err=True)


def _add_change(name: str, change: Callable[[Site, str], Row], word: str, text: str) -> None:
    """Add a command that changes an update: change(site, update) returns the changed update."""

    @updates.command(name, help=text + _NAMED_HELP)
    @click.argument("update")
    @data_option
    @json_option
    def command(update: str, data: str, json: bool) -> None:
        with open_site(data) as site:
            found = change(site, update)
        _print_changed(found, word, json)


def _add_withdrawal(name: str, change: Callable[[Site, str], Row], word: str, text: str) -> None:
    """Add a command that stops offering an update, and waits until the devices have dropped it."""

    @updates.command(name, help=text + _NAMED_HELP + _WITHDRAWN_HELP)
    @click.argument("update")
    @click.option(
        "--no-wait",
        is_flag=True,
        help="Do not wait until the devices have dropped it. Without a terminal, the command never waits.",
    )
    @data_option
    @json_option
    def command(update: str, no_wait: bool, data: str, json: bool) -> None:
        with open_site(data) as site:
            found = change(site, update)
            _print_changed(found, word, json)
            if not json:
                withdrawal.report_unapplied(site, found, wait=not no_wait and sys.stdout.isatty())


_WITHDRAWN_HELP = """

    Devices that are downloading it or have staged it drop it at their next check-in, because their agents ask the
    cloud before they apply it. Other clients do not ask. Ctrl-C only stops the wait."""


def _print_changed(found: Row, word: str, json: bool) -> None:
    if json:
        print_json(found)
    else:
        click.echo("%s %s %s" % (found["product"], found["version"], word))


_add_change(
    "hold",
    lambda site, update: control.hold(site, update, True),
    "is held in its stage",
    "Hold UPDATE in its current stage: it does not advance before `ioto updates unhold`.",
)
_add_change(
    "unhold",
    lambda site, update: control.hold(site, update, False),
    "is no longer held in its stage",
    "End the hold on UPDATE: it advances when its gate opens.",
)
_add_change(
    "enable",
    lambda site, update: control.enable(site, update, True),
    "is enabled",
    "Start offering UPDATE.",
)
_add_withdrawal(
    "disable",
    lambda site, update: control.enable(site, update, False),
    "is disabled",
    "Stop offering UPDATE.",
)
_add_change(
    "approve",
    lambda site, update: control.change_state(site, update, "approved"),
    "is approved",
    "Approve UPDATE, published with --require-approval: it is offered from now on.",
)
_add_withdrawal(
    "pause",
    lambda site, update: control.change_state(site, update, "paused"),
    "is paused",
    "Pause UPDATE: no device is offered it before `ioto updates resume`.",
)
_add_change(
    "resume",
    lambda site, update: control.change_state(site, update, "resumed"),
    "is resumed",
    "Resume UPDATE after it was paused, by hand or by its stop rule.",
)
_add_withdrawal(
    "cancel",
    lambda site, update: control.change_state(site, update, "cancelled"),
    "is cancelled",
    "Cancel UPDATE permanently: it is never offered again.",
)


@updates.command("pack")
@click.argument("update")
@data_option
@json_option
def pack(update: str, data: str, json: bool) -> None:
    """Make the packed files of UPDATE (PRODUCT@VERSION or its id) that are missing or have failed.

    A running server makes them by itself, and those of new releases at once. Ctrl-C is safe: the rest is made later.
    """
    from ioto_tools.cloud.packing import making, plan

    from .pack import progress_bar

    made = []
    with open_site(data) as site:
        release = plan.apply(site, update)
        while True:
            with progress_bar("packing") as progress:
                found = making.make_next(site, release["id"], progress)
            if found is None:
                break
            made.append(found)
            if not json:
                print_made(found)
        files = release_files.of_release(site, release["id"])
    if json:
        print_json(files)
    elif not made:
        click.echo("no packed file is missing")


@updates.command("delete")
@click.argument("update")
@yes_option
@data_option
def delete(update: str, yes: bool, data: str) -> None:
    """Delete UPDATE (PRODUCT@VERSION or its id), with its history and its image.

    This is refused as long as a device runs the version, is pinned to it, or may still apply it: archive it instead.
    The audit log is kept.
    """
    _retire(data, update, yes, deletion.delete_release, "Delete %s %s, its history and its image?", "deleted")


@updates.command("archive")
@click.argument("update")
@yes_option
@data_option
def archive(update: str, yes: bool, data: str) -> None:
    """Archive UPDATE, which is PRODUCT@VERSION or its id: delete its image, and hide it from the lists.

    It is never offered again. Its history is kept; `ioto updates --archived` lists it. Devices that run the version
    keep running it.
    """
    question = "Archive %s %s? Its image is deleted, and it is never offered again."
    _retire(data, update, yes, deletion.archive_release, question, "archived")


def _retire(data: str, update: str, yes: bool, change: Callable[[Site, str], Row], question: str, word: str) -> None:
    with open_site(data) as site:
        found = overview.update(site, update)
        if not yes:
            click.confirm(printable(question % (found["product"], found["version"])), abort=True)
        retired = change(site, found["update"])
    kept = "" if retired["image"] else "; the image is kept: another release has the same"
    click.echo("%s %s %s%s" % (retired["product"], retired["version"], word, kept))
