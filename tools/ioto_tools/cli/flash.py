"""`ioto init`, `image`, `flash` and `freeze`: from a stock firmware file to a board with the agent."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from .. import private_file
from ..image.firmware import FLASH_SIZES
from .options import OutputFile, json_object_option, password_option, yes_option
from .printable import printable

if TYPE_CHECKING:
    from ..image.firmware import Firmware


def fail(command: str, text: object) -> NoReturn:
    click.echo(printable("ioto %s: %s" % (command, text)), err=True)
    sys.exit(1)


def confirm(command: str, text: str) -> None:
    """Ask for confirmation, and exit unless the answer is yes. Without a terminal, the command needs --yes."""
    try:
        click.confirm(text, abort=True, err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        fail(
            command,
            "not confirmed: the question needs a terminal; use --yes to continue without asking. Nothing was changed",
        )


def parse_bytes(context: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    try:
        return int(text, 0) if text else None
    except ValueError:
        raise click.BadParameter("%s: expected: a number of bytes, such as 0x1A0000" % text)


FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FIRMWARE = click.argument("firmware", type=FILE)
FOLDER = click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
SLOT_SIZE = click.option(
    "--slot-size",
    callback=parse_bytes,
    metavar="BYTES",
    help="Size of each update slot, a multiple of 0x10000; by default, the largest that fits into the flash.",
)
SOURCE = click.option(
    "--source",
    is_flag=True,
    help="Install the agent as .py files, to read and change on the board; they need twice the space and more RAM.",
)


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--product",
    default="PRODUCT-ID",
    help="Product id with which the board registers; `ioto product list` shows your products.",
)
@click.option(
    "--builder",
    metavar="URL",
    default="https://cloud.example.com",
    show_default=True,
    help="URL of your device cloud, where the board registers.",
)
@click.option(
    "--ca",
    "authorities",
    multiple=True,
    type=FILE,
    help="Certificate of the authority that signed the cloud's certificate; `ioto cloud certificate` creates both.",
)
@click.option(
    "--key",
    "keys",
    multiple=True,
    type=FILE,
    help="Public release key, created by `ioto keys new`. The board then installs only releases "
    "that are signed with this key.",
)
@click.option("--ssid", default="", help="Name of the Wi-Fi network.")
@password_option
@click.option("--version", default="1.0.0", show_default=True, help="Version (SemVer) of the board's first software.")
def init(
    folder: Path,
    product: str,
    builder: str,
    authorities: tuple[Path, ...],
    keys: tuple[Path, ...],
    ssid: str,
    password: str,
    version: str,
) -> None:
    """Create FOLDER with a board's files: boot.py, main.py, ioto.json, device.json, certificates and keys.

    --ca and --key may be repeated; their files are copied into FOLDER.
    """
    from ioto.config import load

    from ..deploy.device_files import create_folder

    if not builder.startswith("https://"):
        fail(
            "init",
            "--builder %s: expected: an https URL; `ioto cloud certificate` creates the certificates" % builder,
        )
    settings = {
        "product": product,
        "builder": builder,
        "version": version,
        "wifi.ssid": ssid,
        "wifi.password": password,
    }
    try:
        names = create_folder(folder, settings, authorities, keys)
        config = load(str(folder) + "/")
    except (OSError, ValueError) as e:
        fail("init", e)
    click.echo("%s: %s" % (folder, ", ".join(names)))
    if ssid and not password:
        click.echo(
            "note: no --password: %s is treated as an open network; if it is not, set wifi.password "
            "in %s" % (ssid, folder / "ioto.json"),
            err=True,
        )
    if not config["tls.ca"]:
        click.echo(
            "note: no --ca: copy the certificate of the cloud's authority into %s, and name it in tls.ca" % folder,
            err=True,
        )
    print_settings_warnings(folder)


def _read_firmware(command: str, path: Path) -> Firmware:
    from ..image.firmware import FirmwareError, parse

    try:
        return parse(path.read_bytes())
    except FirmwareError as e:
        fail(command, "%s: %s" % (path, e))


def print_settings_warnings(folder: Path) -> None:
    """Print the warnings about the settings in `folder`, if it contains valid settings."""
    from ioto.config import ConfigError, load

    from ..deploy.trust import warnings

    try:
        found = list(warnings(load(str(folder) + "/")))
    except ConfigError:  # reported by the commands that need the settings
        return
    for text in found:
        click.echo("note: %s: %s" % (folder, text), err=True)


@click.command()
@FOLDER
def freeze(folder: Path) -> None:
    """Prepare FOLDER for your own firmware: write its product, version and settings to ioto_build.py.

    firmware/manifest.py in the repository freezes this file, the agent, and FOLDER's boot.py and main.py.
    """
    from ..deploy import frozen

    try:
        names = frozen.build(folder)
    except ValueError as e:
        fail("freeze", e)
    click.echo("%s: %s" % (folder / frozen.NAME, ", ".join(names)))
    click.echo("note: anyone who has the firmware image can read these files, including a Wi-Fi password", err=True)
    print_settings_warnings(folder)


@click.command()
@FIRMWARE
@FOLDER
@click.option(
    "-o",
    "--output",
    type=OutputFile(Path),
    required=True,
    help="Output file: the whole flash, from address 0.",
)
@click.option(
    "--flash-size",
    type=click.Choice(list(FLASH_SIZES)),
    default="4M",
    show_default=True,
    help="Size of the board's flash.",
)
@SLOT_SIZE
@SOURCE
@click.option("--force", is_flag=True, help="Overwrite OUTPUT if it exists.")
@json_object_option
def image(
    firmware: Path,
    folder: Path,
    output: Path,
    flash_size: str,
    slot_size: int | None,
    source: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Create a flash image without a board: FIRMWARE with two update slots, the agent, and FOLDER's files.

    FIRMWARE is MicroPython's .bin for the chip (ESP32, S2, S3, C2, C3, C5, C6, P4) as published on
    micropython.org. Write the image with `esptool write-flash 0 OUTPUT`, or run it with `ioto board run OUTPUT`.
    """
    from ..deploy.device_files import device_files
    from ..deploy.flash_image import build

    if output.exists() and not force:
        fail("image", "%s already exists; --force overwrites it" % output)
    try:
        flash_image = build(
            _read_firmware("image", firmware), device_files(folder, source), FLASH_SIZES[flash_size], slot_size
        )
    except ValueError as e:
        fail("image", e)
    private_file.write(output, flash_image.to_bytes())
    print_settings_warnings(folder)
    if as_json:
        click.echo(json.dumps({
            "file": str(output), "bytes": flash_image.flash_bytes,
            "partitions": [{"label": p.label, "address": p.address, "size": p.size} for p in flash_image.rows],
            "parts": [{"address": p.address, "bytes": len(p.raw), "what": p.what} for p in flash_image.parts],
            "room": list(flash_image.describe_free_space()),
        }, indent=2))  # fmt: skip
        return
    for p in flash_image.rows:
        click.echo("%-10s 0x%06x %9d bytes" % (p.label, p.address, p.size))
    for line in flash_image.describe_free_space():
        click.echo(line)
    click.echo(
        "%s: %d MiB of flash, %s"
        % (output, flash_image.flash_bytes >> 20, ", ".join(p.what for p in flash_image.parts))
    )


@click.command()
@FIRMWARE
@FOLDER
@click.option(
    "-p",
    "--port",
    required=True,
    help="Serial port of the board: /dev/ttyUSB0, COM3, socket://HOST:PORT, rfc2217://HOST:PORT.",
)
@click.option("-b", "--baud", type=int, default=460800, show_default=True, help="Baud rate.")
@click.option(
    "--flash-size",
    type=click.Choice(list(FLASH_SIZES)),
    help="Use only this much of the flash; by default, the size that the chip reports.",
)
@SLOT_SIZE
@SOURCE
@click.option("--erase", is_flag=True, help="Erase the whole chip first; NVS, files and provisioning are lost.")
@click.option("--dry-run", is_flag=True, help="Inspect the board, show what would change, and write nothing.")
@yes_option
@click.option(
    "--no-stub", is_flag=True, help="Use only the chip's ROM bootloader, which is slower: for ports that lose bytes."
)
@click.option(
    "--before",
    type=click.Choice(["default-reset", "usb-reset", "no-reset"]),
    default="default-reset",
    show_default=True,
    help="How to reset the chip into its ROM bootloader; no-reset: it is already running.",
)
def flash(
    firmware: Path,
    folder: Path,
    port: str,
    baud: int,
    flash_size: str | None,
    slot_size: int | None,
    source: bool,
    erase: bool,
    dry_run: bool,
    yes: bool,
    no_stub: bool,
    before: str,
) -> None:
    """Flash a board: FIRMWARE with two update slots, the agent, and FOLDER's files.

    A board in use keeps its NVS and its files, except the files that FOLDER or the agent replaces. The command
    shows what will change and asks for confirmation before it writes anything.
    """
    from ..deploy import flashing
    from ..deploy.device_files import device_files
    from ..deploy.rom_loader import Loader, LoaderError

    loader = Loader(port, baud, not no_stub, before)
    stock = _read_firmware("flash", firmware)
    try:
        files = device_files(folder, source)
        click.echo("inspecting the board at %s" % port)
        plan = flashing.plan(loader, stock, files, FLASH_SIZES[flash_size] if flash_size else None, slot_size, erase)
        for line in plan.lines():
            click.echo(printable("  " + line))
        print_settings_warnings(folder)
        if dry_run:
            click.echo("nothing was written")
            return
        if not yes:
            confirm("flash", "Write this to the board?")
        flashing.write(loader, plan)
    except (ValueError, LoaderError) as e:
        fail("flash", e)
    click.echo("done: the board is starting; `ioto board log %s` prints its output" % port)
