"""`ioto pack`, `ioto unpack`: thin wrappers around ioto_tools.image.pack and unpack."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import click
from ioto import packed, release
from ioto.errors import UpdateError

from ioto_tools.image.pack import PackError

from .keys import extracted_application
from .options import OutputFile

_FILE = click.Path(exists=True, dir_okay=False)


def _output_option(metavar: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "-o", "--output", "out", required=True, metavar=metavar, type=OutputFile(), help="File to write."
    )


@click.command()
@click.argument("new", type=_FILE)
@click.option(
    "--base",
    "bases",
    multiple=True,
    metavar="OLD",
    type=_FILE,
    help="Image that the devices run: FILE is a delta against it. May be repeated; then each delta is a file of its "
    "own, with the first 8 digits of the base's SHA-256 in its name.",
)
@_output_option("FILE")
def pack(new: str, bases: tuple[str, ...], out: str) -> None:
    """Make a small file of the image NEW: compressed, or a delta against an image that devices run.

    NEW may be signed: the packed file then begins with the same signed manifest. NEW and OLD may be whole firmware
    files, of which only the application is used.
    """
    envelope, image = read_image(new)
    if image[:8] == packed.MAGIC:
        raise click.ClickException("%s: already packed: give the image that it was made from" % new)
    for base in bases or (None,):
        old = read_image(base)[1] if base else b""
        path = out if len(bases) < 2 else _numbered(out, old)
        _pack(envelope, image, old, path)


def _pack(envelope: bytes, image: bytes, base: bytes, path: str) -> None:
    from ioto_tools.image.pack import pack as pack_image
    from ioto_tools.image.unpack import unpack as unpack_image

    with pack_errors(path), progress_bar(os.path.basename(path)) as progress:
        raw = pack_image(image, base, progress)
        if unpack_image(raw, base) != image:
            raise PackError("does not unpack to the image: please report this")
    _write(path, envelope + raw)
    size = len(envelope) + len(raw)
    whole = len(envelope) + len(image)
    click.echo("%s: %d bytes, %.1f %% of the image's %d" % (path, size, 100 * size / whole, whole))


@click.command()
@click.argument("file", type=_FILE)
@click.option("--base", metavar="OLD", type=_FILE, help="Image against which FILE was made.")
@_output_option("OUT")
def unpack(file: str, base: str | None, out: str) -> None:
    """Make the image of the packed FILE, to check it. A signed manifest in front of it is kept."""
    from ioto_tools.image.unpack import unpack as unpack_image

    envelope, raw = read_image(file)
    with pack_errors(file):
        image = unpack_image(raw, read_image(base)[1] if base else b"")
    _write(out, envelope + image)
    click.echo("%s: %d bytes, SHA-256 %s" % (out, len(envelope) + len(image), sha256(image).hexdigest()))


def read_image(path: str) -> tuple[bytes, bytes]:
    """(the envelope with the signed manifest, or nothing; the image, or its packed form) of a file."""
    with extracted_application(path, False) as alone:
        raw = Path(alone).read_bytes()
    try:
        found = release.unwrap(raw[: release.ENVELOPE_BYTES])
        if not found:
            return b"", raw
        envelope, image = raw[: release.ENVELOPE_BYTES], raw[release.ENVELOPE_BYTES :]
        said = release.parse(found[0])
    except UpdateError as e:
        raise click.ClickException("%s: the signed manifest is corrupt: %s" % (path, e)) from e
    if image[:8] != packed.MAGIC and sha256(image).hexdigest() != said["sha256"]:
        raise click.ClickException("%s: not the image that its manifest was signed for: sign it again" % path)
    return envelope, image


def _numbered(path: str, base: bytes) -> str:
    whole = Path(path)
    return str(whole.with_name("%s-%s%s" % (whole.stem, sha256(base).hexdigest()[:8], whole.suffix)))


def _write(path: str, raw: bytes) -> None:
    """Write the file atomically: no program sees an incomplete file."""
    handle, beside = tempfile.mkstemp(dir=os.path.dirname(os.path.abspath(path)))
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
        os.chmod(beside, 0o644)
        os.replace(beside, path)
    finally:
        Path(beside).unlink(missing_ok=True)


@contextmanager
def pack_errors(path: str) -> Iterator[None]:
    """Convert errors of packing to click errors that name the file."""
    try:
        yield
    except PackError as e:
        raise click.ClickException("%s: %s" % (path, e)) from e


@contextmanager
def progress_bar(name: str) -> Iterator[Callable[[int, int], None]]:
    """Yield progress(done, total), which draws a bar on a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as display:
        task = display.add_task(name)
        yield lambda done, total: display.update(task, completed=done, total=total)
