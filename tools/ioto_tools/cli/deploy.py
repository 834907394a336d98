"""`ioto deploy`, and `ioto board info` and `log`: boards at a serial port."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from .flash import fail
from .printable import printable

if TYPE_CHECKING:
    from ..deploy.prompt import Prompt


def find_port(port: str | None, command: str) -> str:
    """The port given, or the only USB serial port there is."""
    if port:
        return port
    from serial.tools.list_ports import comports

    found = [p.device for p in comports() if p.vid is not None]
    if len(found) == 1:
        return found[0]
    fail(
        command,
        "no USB serial port found: name it" if not found else "several ports: name one of %s" % ", ".join(found),
    )


PORT = click.argument("port", required=False)
WAIT = click.option(
    "--wait",
    "wait_s",
    type=click.IntRange(0),
    default=0,
    metavar="SECONDS",
    help="Keep trying for so long: for a board that sleeps, or whose application ignores Ctrl-C.",
)
RESET = click.option(
    "--reset",
    is_flag=True,
    help="Reset the board over the cable first, and interrupt it while it starts. An image on trial goes back.",
)


def open_prompt(port: str, wait_s: int, reset: bool) -> Prompt:
    """The board's Prompt, entered by `with`; says that it waits."""
    from ..deploy.prompt import Prompt

    if wait_s:
        click.echo("%s: trying for %d s; press the board's reset button, or let it wake" % (port, wait_s), err=True)
    return Prompt(port, wait_s, reset)


@click.command()
@PORT
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=".",
    show_default=True,
    help="What the board is to have: boot.py, main.py, ioto.json, device.json, and yours.",
)
@click.option("--source", is_flag=True, help="The agent as .py files.")
@click.option("--force", is_flag=True, help="Also replace files that were changed on the board.")
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@WAIT
@RESET
def deploy(port: str | None, folder: Path, source: bool, force: bool, dry_run: bool, wait_s: int, reset: bool) -> None:
    """Bring FOLDER's files and the agent onto the board at PORT: what changed only, whole files only.

    The record and provision.json stay. A file that was changed on the board since the last time is kept and its
    differences are shown. The application is stopped meanwhile, and started again by a soft reset.
    """
    from rich.progress import Progress

    from ..deploy import copy
    from ..deploy.device_files import device_files
    from ..deploy.prompt import PromptError
    from .flash import print_settings_warnings

    port = find_port(port, "deploy")
    try:
        files = device_files(folder, source)
        files.pop(copy.LIST)
        print_settings_warnings(folder)
        with open_prompt(port, wait_s, reset) as board:
            who = board.identify()
            click.echo(printable("%s: %s" % (port, ", ".join(filter(None, (who["machine"], who["platform"]))))))
            copy.check_compiled(files, who["mpy"])
            made = copy.plan(board, files, force)
            for name, diff in made.kept.items():
                click.echo(
                    printable("%s was changed on the board and is kept (--force replaces it):\n%s" % (name, diff)),
                    err=True,
                )
            for name in made.remove:
                click.echo(printable("remove %s" % name))
            for name, raw in made.write.items():
                click.echo("bring  %s (%d bytes)" % (name, len(raw)))
            if dry_run:
                click.echo("nothing was changed")
                return
            with Progress() as bars:
                bar = bars.add_task("copying", total=sum(map(len, made.write.values())))
                copy.carry_out(board, made, lambda name, n: bars.advance(bar, n))
            click.echo(
                "%d files brought, %d were the same%s"
                % (len(made.write), made.same, ", %d kept" % len(made.kept) if made.kept else "")
            )
    except (ValueError, PromptError) as e:
        fail("deploy", e)


@click.command()
@PORT
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@WAIT
@RESET
def info(port: str | None, as_json: bool, wait_s: int, reset: bool) -> None:
    """Say what the board at PORT is and holds: chip, slots, otadata in words, version, windows.

    Its application is interrupted, and started again by a soft reset.
    """
    from ..deploy import info as board_info
    from ..deploy.prompt import PromptError

    try:
        with open_prompt(find_port(port, "board info"), wait_s, reset) as board:
            found = board_info.facts(board)
    except PromptError as e:
        fail("board info", e)
    click.echo(board_info.as_json(found) if as_json else printable("\n".join(board_info.lines(found))))


@click.command()
@PORT
def log(port: str | None) -> None:
    """Follow what the board at PORT prints, the agent's log with it. Ctrl-C ends; the board goes on.

    A port that goes away, as that of a board with its own USB does in a reset, is waited for.
    """
    from ..deploy import follow
    from ..deploy.port import PortError

    port = find_port(port, "board log")
    try:
        for text in follow.lines(port, lambda text: click.echo("-- %s: %s" % (port, text), err=True)):
            click.echo(printable(text), nl=False)
    except PortError as e:
        fail("board log", e)
    except KeyboardInterrupt:
        click.echo()


@click.command()
@click.argument("file", type=click.File(), default="-")
def traceback(file: TextIO) -> None:
    """Say what a board has printed, FILE or standard input, with tracebacks in the names of lib/ioto: compiled it has
    short ones.
    """
    from ..deploy.compiled import readable

    for line in file:
        click.echo(printable(readable(line)), nl=False)
