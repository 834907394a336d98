"""`ioto board test`: the on-board suite."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from ..suite.run_checks import CHECKS, UPDATE
from .deploy import PORT, RESET, WAIT, find_port, open_prompt
from .flash import confirm, fail
from .options import password_option, yes_option
from .printable import printable

if TYPE_CHECKING:
    from ..deploy.prompt import Prompt
    from ..suite.run_checks import Result
    from ..suite.servers import Servers


@click.command("test")
@PORT
@click.option("--ssid", default="", help="Name of the Wi-Fi network; by default, the network in the board's ioto.json.")
@password_option
@click.option(
    "--host",
    metavar="ADDRESS",
    help="IP address at which the board reaches this machine; by default, this machine's own.",
)
@click.option(
    "--only", "only", multiple=True, type=click.Choice((*CHECKS, UPDATE)), help="Run only this check; may be repeated."
)
@click.option(
    "--update",
    is_flag=True,
    help="Also test updates to a second image: one is rolled back, one is confirmed; then back to the first image.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for publishing.")
@click.option("--markdown", is_flag=True, help="Print a Markdown table.")
@yes_option
@WAIT
@RESET
def test(
    port: str | None,
    ssid: str,
    password: str,
    host: str | None,
    only: tuple[str, ...],
    update: bool,
    as_json: bool,
    markdown: bool,
    yes: bool,
    wait_s: int,
    reset: bool,
) -> None:
    """Check that the board at PORT behaves like the virtual board, and take measurements.

    The contents of the inactive update slot are lost, and the board is reset a few times; its files, record and
    settings are kept. Checks that need Wi-Fi are skipped without it. PORT is a serial device, a pseudo terminal,
    socket://HOST:PORT or rfc2217://HOST:PORT.
    """
    from ..deploy.prompt import PromptError
    from ..suite import format_results, run_checks
    from ..suite import servers as hosts

    port = find_port(port, "board test")
    names = [name for name in (*CHECKS, UPDATE) if name in only or not only and (name != UPDATE or update)]
    try:
        with open_prompt(port, wait_s, reset) as board:
            about = run_checks.identify_board(board)
            if not yes:
                confirm("board test", printable(_question(about)))
            wifi = about["wifi"] if isinstance(about["wifi"], dict) else {}
            settings: dict[str, Any] = {
                "ssid": ssid or wifi.get("ssid", ""),
                "password": password if ssid else wifi.get("password", ""),
            }
            settings["blocks"] = run_checks.count_blocks(about)
            with hosts.Servers(
                host or hosts.own_address(), hosts.make_image(about["chip"], settings["blocks"])
            ) as servers:
                results = list(_run_checks(board, about, servers, names, settings))
    except (OSError, PromptError) as e:
        fail("board test", e)
    if as_json:
        click.echo(json.dumps(format_results.as_object(about, results), indent=2))
    elif markdown:
        click.echo(printable("\n".join(format_results.markdown(results))))
    else:
        _print_results(about, results)
    sys.exit(any(each.result == "failed" for each in results))


def _question(about: dict[str, Any]) -> str:
    other = [label for label in about["slots"] if label != about["running"]]
    slots = "the contents of %s are overwritten" % " and ".join(other) if other else "it has no second slot"
    return "%s: %s is running; %s, and the board is reset a few times. Continue?" % (
        about["machine"] or "board",
        about["running"],
        slots,
    )


def _run_checks(
    board: Prompt, about: dict[str, Any], servers: Servers, names: list[str], settings: dict[str, Any]
) -> Iterator[Result]:
    from rich.console import Console
    from rich.progress import Progress

    from ..suite import run_checks

    with Progress(console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task("copying the suite", total=None)
        try:
            run_checks.install(board, about, servers, names)
            for n, name in enumerate(names):
                bars.update(bar, description=name, total=len(names), completed=n)
                yield run_checks.run_check(board, name, {**settings, **servers.given})
        finally:
            bars.update(bar, description="removing the suite")
            run_checks.uninstall(board)


def _print_results(about: dict[str, Any], results: list[Result]) -> None:
    from ..suite import format_results
    from .output import print_table

    print_table("%s, MicroPython %s, agent %s" % (about["machine"] or "board", ".".join(map(str, about["version"][:3])),
        about["agent"] or "copied with the suite"),
          ("check", "result", "s", "found"), [(each.name, each.result, each.seconds,
              format_results.describe(each)) for each in results])  # fmt: skip
