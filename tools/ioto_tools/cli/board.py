"""`ioto board`: virtual boards in flash files."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from ..image.firmware import FLASH_SIZES
from .deploy import info, log, traceback
from .flash import print_settings_warnings
from .options import RenamedOption, json_object_option
from .printable import printable
from .suite import test

if TYPE_CHECKING:
    from ..virtual_board import Board, Cut, Run
    from ..virtual_board.peers import RealServer
    from ..virtual_board.simulated_network import SimulatedNetwork


@click.group()
def board() -> None:
    """Run virtual boards; inspect and test boards on a serial port.

    A virtual board consists of an ESP32's flash in a file, its bootloader, and MicroPython's unix port as the CPU.
    """


board.add_command(info)
board.add_command(log)
board.add_command(test)
board.add_command(traceback)


def fail(text: object) -> NoReturn:
    click.echo(printable("ioto board: %s" % text), err=True)
    sys.exit(1)


def open_board(flash: Path, **options: Any) -> Board:
    from ..virtual_board import Board

    try:
        return Board(flash, **options)
    except (OSError, ValueError) as e:
        fail("%s: %s" % (flash, e) if str(flash) not in str(e) else str(e))


def parse_number(text: int | str) -> int:
    return text if isinstance(text, int) else int(text, 0)


@board.command()
@click.argument("flash", type=click.Path(path_type=Path))
@click.argument("firmware", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False)
@click.option(
    "--flash-size", type=click.Choice(list(FLASH_SIZES)), default="4M", show_default=True, help="Size of the flash."
)
@click.option(
    "--slot-size",
    type=parse_number,
    metavar="BYTES",
    default=0x1A0000,
    show_default="0x1A0000",
    help="Size of each update slot, a multiple of 0x10000.",
)
@click.option("--agent/--no-agent", default=True, show_default=True, help="Add the compiled agent as lib/ioto.")
@click.option("--force", is_flag=True, help="Overwrite FLASH if it exists.")
def new(
    flash: Path, firmware: Path, folder: Path | None, flash_size: str, slot_size: int, agent: bool, force: bool
) -> None:
    """Create the file FLASH with FIRMWARE in the first slot and FOLDER as the file system.

    FIRMWARE is an application image, or a whole-flash file from which the application is extracted. FOLDER
    contains the board's files: boot.py, main.py, ioto.json, device.json.
    """
    from ..deploy.agent_build import agent_files
    from ..image.firmware import parse
    from ..virtual_board import Board
    from ..virtual_board.file_system import collect_files

    if flash.exists() and not force:
        fail("%s already exists; --force overwrites it" % flash)
    try:
        image = parse(firmware.read_bytes()).application
        files = dict(agent_files()) if agent else {}
        files.update(collect_files(folder) if folder else {})
        created = Board.create(flash, image, files, FLASH_SIZES[flash_size], slot_size)
        created.set_otadata("1/VALID -")
    except ValueError as e:
        fail("%s: %s" % (firmware, e))
    click.echo("%s: %s of flash, %d bytes of firmware in ota_0, %d files" % (flash, flash_size, len(image), len(files)))
    if folder:
        print_settings_warnings(folder)


def parse_peers(words: Iterable[str]) -> dict[tuple[str, int], RealServer]:
    """Parse [NAME:PORT=HOST:PORT] to {(name, port): RealServer(host, port)}."""
    from ..virtual_board.peers import RealServer

    found = {}
    for word in words:
        try:
            here, there = word.split("=")
            (name, port), (host, real) = here.rsplit(":", 1), there.rsplit(":", 1)
            found[(name, int(port))] = RealServer(host, int(real))
        except ValueError:
            fail("--peer %s: expected: NAME:PORT=HOST:PORT, such as cloud.test:80=127.0.0.1:8080" % word)
    return found


def build_network(peer: Iterable[str], wifi: str | None = None, network: bool = False) -> SimulatedNetwork:
    """The network that the board reaches. `wifi` is NAME:PASSWORD; None accepts any Wi-Fi network."""
    import time

    from ..virtual_board.simulated_network import SimulatedNetwork

    known = None
    if wifi is not None:
        name, _, password = wifi.partition(":")
        known = {name: password}
    return SimulatedNetwork(
        {"pool.ntp.org": "10.0.9.9"}, parse_peers(peer), wifi=known, unix_s=int(time.time()), outside=network
    )


def run_board(
    flash: Path,
    air: SimulatedNetwork,
    seconds: float | None,
    simulated: bool,
    fault: Iterable[str],
    cut: Cut | None = None,
    serial: bool = False,
) -> Run:
    """Run the board, print its output and close it; returns the Run."""
    from ..virtual_board import sandbox
    from ..virtual_board.serial import Serial

    if not sandbox.available():
        click.echo(
            "note: this machine has no sandbox, so a board's program can access your files: run only "
            "flash files that you trust",
            err=True,
        )
    faults = {}
    for word in fault:
        sha, _, kind = word.partition("=")
        faults[sha] = kind or "crash"
    port = Serial() if serial else None
    if port:
        click.echo("-- serial port: %s" % port.path)
    try:
        virtual_board = open_board(flash, air=air, real_time=not simulated, faults=faults)
        run = virtual_board.run(
            until_s=seconds, cut=cut, console=None if port else lambda line: click.echo(printable(line)), serial=port
        )
    except ValueError as e:
        fail(e)
    except KeyboardInterrupt:
        click.echo("stopped, as by a power cut; %s contains what the board has written" % flash, err=True)
        sys.exit(130)
    click.echo(
        "-- %s after %d boot(s): %s; otadata %s"
        % (run.ended, len(run.boots), " ".join(run.slots), virtual_board.describe_otadata())
    )
    virtual_board.close()
    return run


PEER = click.option(
    "--peer",
    multiple=True,
    metavar="NAME:PORT=HOST:PORT",
    help="Let the board reach HOST:PORT as NAME:PORT; may be repeated.",
)
SECONDS = click.option(
    "--seconds", type=float, help="Stop after this many seconds on the board's clock; by default, run until Ctrl-C."
)
SIMULATED = click.option(
    "--simulated",
    is_flag=True,
    help="Run in simulated time, as fast as possible; the servers of --peer stay in real time.",
)
FAULT = click.option(
    "--fault",
    multiple=True,
    metavar="SHA256=KIND",
    help="Make the image with this SHA-256 crash, hang, fail its self-test, or raise an exception "
    "at start; may be repeated.",
)


@board.command()
@click.argument("flash", type=click.Path(path_type=Path))
@PEER
@SECONDS
@SIMULATED
@FAULT
@click.option(
    "--serial",
    is_flag=True,
    help="Provide a serial port with MicroPython's prompt, for mpremote, Thonny or `ioto deploy`.",
)
@click.option(
    "--wifi", metavar="NAME:PASSWORD", help="The only Wi-Fi network in range; by default, any network is accepted."
)
@click.option("--network", is_flag=True, help="Let the board reach every IP address that this machine reaches.")
def run(
    flash: Path,
    peer: tuple[str, ...],
    seconds: float | None,
    simulated: bool,
    fault: tuple[str, ...],
    serial: bool,
    wifi: str | None,
    network: bool,
) -> None:
    """Power the board on and print its output. Ctrl-C cuts the power."""
    for given, option in ((serial, "--serial"), (network, "--network")):
        if given and simulated:
            fail("%s needs a board in real time: omit --simulated" % option)
    run_board(flash, build_network(peer, wifi, network), seconds, simulated, fault, serial=serial)


@board.command()
@click.argument("flash", type=click.Path(path_type=Path))
@click.option(
    "--operation",
    "op",
    cls=RenamedOption,
    was="--op",
    type=int,
    required=True,
    help="Number of the flash operation (erase or program), counted from 0.",
)
@click.option(
    "--when",
    type=click.Choice(["before", "during", "after"]),
    default="during",
    show_default=True,
    help="Cut before, during or after that operation.",
)
@PEER
@SECONDS
@SIMULATED
@FAULT
def cut(
    flash: Path,
    op: int,
    when: str,
    peer: tuple[str, ...],
    seconds: float | None,
    simulated: bool,
    fault: tuple[str, ...],
) -> None:
    """Run like `ioto board run`, and cut the power at one flash operation.

    The next `ioto board run` powers the board on again.
    """
    from ..virtual_board import Cut

    ended = run_board(flash, build_network(peer), seconds, simulated, fault, Cut(op, when)).ended
    if ended != "cut":
        fail("flash operation %d was never reached" % op)


def board_facts(virtual_board: Board) -> dict[str, Any]:
    """What `ioto board show` prints, as a JSON object."""
    from ioto.recall import decode

    from ..image import layout
    from ..image.esp import describe

    slots = {}
    for p in virtual_board.rows:
        if p.type == layout.APP:
            image = virtual_board.read_slot(p.label)
            description = describe(virtual_board.flash.peek(p.address, 288))
            slots[p.label] = (
                {"bytes": len(image), "sha256": hashlib.sha256(image).hexdigest(), **description} if image else None
            )
    try:
        files = virtual_board.files()
    except ValueError as e:
        files = {}
        click.echo(printable("ioto board: %s" % e), err=True)
    records = [decode(files.get("state/record.%d" % i, b"")) for i in (0, 1)]
    record = max((r for r in records if r), key=lambda r: r[0], default=(0, None))[1]
    return {
        "partitions": [
            {"label": p.label, "type": p.type, "subtype": p.subtype, "address": p.address, "size": p.size}
            for p in virtual_board.rows
        ],
        "otadata": virtual_board.describe_otadata() if any(p.label == "otadata" for p in virtual_board.rows) else None,
        "slots": slots,
        "files": {name: len(raw) for name, raw in sorted(files.items())},
        "record": record,
    }


@board.command()
@click.argument("flash", type=click.Path(path_type=Path))
@json_object_option
def show(flash: Path, as_json: bool) -> None:
    """Show a board's partitions, otadata, slots, files, and the agent's record."""
    virtual_board = open_board(flash)
    found = board_facts(virtual_board)
    virtual_board.close()
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return

    def say(text: str) -> None:
        click.echo(printable(text))

    for p in found["partitions"]:
        say("%-10s 0x%06x %8d bytes" % (p["label"], p["address"], p["size"]))
    say("otadata    %s" % (found["otadata"] or "none"))
    for label, slot in found["slots"].items():
        if slot is None:
            say("%-10s no bootable image" % label)
        else:
            say("%-10s %d bytes, %s, version %s, ELF %s, SHA-256 %s" % (
                label, slot["bytes"], slot.get("chip", "?"), slot.get("version") or "unknown", slot.get("elf",
                "?")[:12], slot["sha256"][:16]))  # fmt: skip
    say("files      %s" % (", ".join("%s (%d)" % f for f in found["files"].items()) or "none"))
    record = found["record"]
    if record is None:
        say("record     none")
    else:
        update = record["update"]
        say("record     phase %s%s" % (record["phase"], ", update %(version)s in %(slot)s" % update if update else ""))
        say(
            "           attempt %d, %d failed before, %d reports to send"
            % (record["attempt"], len(record["failed"]), len(record["reports"]))
        )
        for label, installed in record["slots"].items():
            say("           %s: version %s was installed" % (label, installed["version"]))
