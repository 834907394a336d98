"""`ioto demo`: the demonstration, in real time."""

import sys
from pathlib import Path

import click


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path(".build/demo"),
    show_default=True,
    help="Folder for the board and the cloud; replaces an earlier demonstration.",
)
@click.option(
    "--firmware",
    type=click.Path(path_type=Path),
    default=Path(".build/firmware"),
    show_default=True,
    help="Folder with the sample firmware.",
)
def demo(folder: Path, firmware: Path) -> None:
    """Show a virtual board updating itself from one real MicroPython firmware to another, in about two minutes.

    Shows a good update, a delta with a power cut during its download, an image that crashes at start, and a forged
    release, with a real device cloud over TLS.
    """
    from ..demo import Demonstration, DemonstrationError

    try:
        with Demonstration(folder, firmware) as show:
            show.good_update()
            show.delta_update()
            show.crashing_update()
            show.forged_update()
    except (DemonstrationError, FileNotFoundError) as e:
        click.echo("demonstration failed: %s" % e, err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        click.echo("stopped; %s contains the board as it was" % folder, err=True)
        sys.exit(130)
    click.echo("confirmed version 1.27.0")
