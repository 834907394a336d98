"""`ioto deploy`, and `ioto board info`, `log` and `traceback`: boards on a serial port."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from .flash import fail
from .options import json_object_option
from .output import pluralize
from .printable import printable

if TYPE_CHECKING:
    from ..deploy.prompt import Prompt


def find_port(port: str | None, command: str) -> str:
    """Return the given port, or the only USB serial port of this machine."""
    if port:
        return port
    from serial.tools.list_ports import comports

    found = [p.device for p in comports() if p.vid is not None]
    if len(found) == 1:
        return found[0]
    fail(
        command,
        "no USB serial port found: give PORT"
        if not found
        else "several USB serial ports found: give one of %s" % ", ".join(found),
    )


PORT = click.argument("port", required=False)
WAIT = click.option(
    "--wait",
    "wait_s",
    type=click.IntRange(0),
    default=0,
    metavar="SECONDS",
    help="Keep trying for this long: for a board that sleeps, or whose application ignores Ctrl-C.",
)
RESET = click.option(
    "--reset",
    is_flag=True,
    help="Reset the board over the cable first, and interrupt it while it starts. An image on trial is rolled back.",
)


def open_prompt(port: str, wait_s: int, reset: bool) -> Prompt:
    """Return the board's Prompt, a context manager; prints a note if it will keep trying."""
    from ..deploy.prompt import Prompt

    if wait_s:
        click.echo(
            "%s: trying for %d s; press the board's reset button, or wait until it wakes" % (port, wait_s), err=True
        )
    return Prompt(port, wait_s, reset)


@click.command()
@PORT
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=".",
    show_default=True,
    help="Files for the board: boot.py, main.py, ioto.json, device.json, and your own.",
)
@click.option("--source", is_flag=True, help="Copy the agent as .py files.")
@click.option("--force", is_flag=True, help="Also replace files that were changed on the board.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@WAIT
@RESET
def deploy(port: str | None, folder: Path, source: bool, force: bool, dry_run: bool, wait_s: int, reset: bool) -> None:
    """Copy the changed files of FOLDER and of the agent to the board at PORT.

    The record and provision.json are kept. A file that was changed on the board since the last deployment is kept,
    and its differences are shown. The application is stopped during the copy; a soft reset starts it again.
    """
    from rich.progress import Progress

    from ..deploy import copy_files
    from ..deploy.device_files import device_files
    from ..deploy.prompt import PromptError
    from .flash import print_settings_warnings

    port = find_port(port, "deploy")
    try:
        files = device_files(folder, source)
        files.pop(copy_files.HASHES)
        print_settings_warnings(folder)
        with open_prompt(port, wait_s, reset) as board:
            identity = board.identify()
            click.echo(
                printable("%s: %s" % (port, ", ".join(filter(None, (identity["machine"], identity["platform"])))))
            )
            copy_files.check_mpy_version(files, identity["mpy"])
            plan = copy_files.plan(board, files, force)
            for name, diff in plan.kept.items():
                click.echo(
                    printable("%s was changed on the board and is kept (--force replaces it):\n%s" % (name, diff)),
                    err=True,
                )
            for name in plan.remove:
                click.echo(printable("remove %s" % name))
            for name, raw in plan.write.items():
                click.echo("copy   %s (%d bytes)" % (name, len(raw)))
            if dry_run:
                click.echo("nothing was changed")
                return
            with Progress() as bars:
                bar = bars.add_task("copying", total=sum(map(len, plan.write.values())))
                copy_files.apply(board, plan, lambda name, n: bars.advance(bar, n))
            click.echo(
                "%s copied, %d unchanged%s"
                % (pluralize(len(plan.write), "file"), plan.same, ", %d kept" % len(plan.kept) if plan.kept else "")
            )
    except (ValueError, PromptError) as e:
        fail("deploy", e)


@click.command()
@PORT
@json_object_option
@WAIT
@RESET
def info(port: str | None, as_json: bool, wait_s: int, reset: bool) -> None:
    """Show the board at PORT: chip, slots, otadata, version, windows.

    The application is interrupted; a soft reset starts it again.
    """
    from ..deploy import board_info as board_info
    from ..deploy.prompt import PromptError

    try:
        with open_prompt(find_port(port, "board info"), wait_s, reset) as board:
            found = board_info.query(board)
    except PromptError as e:
        fail("board info", e)
    click.echo(board_info.as_json(found) if as_json else printable("\n".join(board_info.format_lines(found))))


@click.command()
@PORT
def log(port: str | None) -> None:
    """Print the output of the board at PORT, including the agent's log. Ctrl-C stops; the board keeps running.

    A board with native USB loses its port at a reset; the command then waits until the port is back.
    """
    from ..deploy import follow
    from ..deploy.serial_port import PortError

    port = find_port(port, "board log")
    try:
        for text in follow.follow_output(port, lambda text: click.echo("-- %s: %s" % (port, text), err=True)):
            click.echo(printable(text), nl=False)
    except PortError as e:
        fail("board log", e)
    except KeyboardInterrupt:
        click.echo()


@click.command()
@click.argument("file", type=click.File(), default="-")
def traceback(file: TextIO) -> None:
    """Print the output of a board, from FILE or standard input, with readable tracebacks.

    The compiled agent has shortened names; its tracebacks are printed with the names of lib/ioto.
    """
    from ..deploy.agent_build import restore_names

    for line in file:
        click.echo(printable(restore_names(line)), nl=False)
