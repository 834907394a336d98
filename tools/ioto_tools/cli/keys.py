"""`ioto keys`, `ioto sign`: thin wrappers around ioto_tools.image.keys and release."""

from __future__ import annotations

import getpass
import os
import re
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ioto_tools.image import firmware, release
from ioto_tools.image import keys as key_files

from .options import OutputFile, RenamedOption

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

PASSPHRASE = "IOTO_PASSPHRASE"
_UNITS = {"h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}


@contextmanager
def click_errors() -> Iterator[None]:
    """Convert errors of keys and releases to click errors."""
    try:
        yield
    except (key_files.KeyFileError, release.ReleaseError) as e:
        raise click.ClickException(str(e)) from e


def ask_passphrase(what: str = "Passphrase", twice: bool = False) -> bytes:
    """Read the passphrase from the environment, for scripts, or from the terminal.

    It is never read from the command line, which other users can see.
    """
    passphrase = os.environ.get(PASSPHRASE)
    if passphrase is None:
        try:
            with warnings.catch_warnings():
                # Without a terminal, getpass would read the passphrase from standard input and echo it.
                warnings.simplefilter("error", getpass.GetPassWarning)
                passphrase = click.prompt(
                    what, hide_input=True, confirmation_prompt=twice, default="", show_default=False, err=True
                )
        except getpass.GetPassWarning:
            without = ", or give --no-passphrase" if twice else ""
            raise click.ClickException(
                "%s: there is no terminal to read it from: set %s%s" % (what, PASSPHRASE, without)
            ) from None
    return passphrase.encode()


def private_key(path: str) -> RSAPrivateKey:
    """Load the private key from the file `path`; asks for its passphrase if it has one."""
    with click_errors():
        raw = key_files.read(path)
        return key_files.load(path, ask_passphrase("Passphrase of %s" % path) if key_files.is_encrypted(raw) else b"")


# ---- ioto keys


@click.group()
def keys() -> None:
    """Create and show the keys that sign releases.

    The private key signs; keep it off the servers. The public key goes onto the boards, where `update.keys` in
    ioto.json names it: from then on, they install only releases signed with it.
    """


@keys.command("new")
@click.argument("file", type=click.Path(dir_okay=False))
@click.option(
    "--no-passphrase",
    is_flag=True,
    help="Leave the private key unencrypted, for espsecure or a machine that keeps it safe.",
)
def new(file: str, no_passphrase: bool) -> None:
    """Create a release key (RSA-3072) in the new file FILE.

    FILE is the private key. The public key is written next to it, with .pub before the extension. The passphrase
    is read from the variable IOTO_PASSPHRASE or from the terminal.
    """
    public_file = public_path(file)
    with click_errors():
        if os.path.exists(public_file):
            raise key_files.KeyFileError("%s already exists and is not overwritten: choose another name" % public_file)
        passphrase = b"" if no_passphrase else ask_passphrase("Passphrase for %s (not empty)" % file, twice=True)
        if not passphrase and not no_passphrase:
            raise click.ClickException("the passphrase is empty: give one, or use --no-passphrase")
        click.echo("generating an RSA key of %d bits" % key_files.BITS, err=True)
        public = key_files.create(file, passphrase).public_key()
        key_files.create_file(public_file, key_files.public_bytes(public), 0o644)
    click.echo("private key %s: keep it private, and keep a backup" % file)
    click.echo(
        'public key  %s: copy it to the boards, "update": {"keys": "%s"} in ioto.json'
        % (public_file, Path(public_file).name)
    )
    click.echo("fingerprint %s" % key_files.fingerprint(public))


def public_path(path: str) -> str:
    private = Path(path)
    return str(private.with_name("%s.pub%s" % (private.stem, private.suffix or ".pem")))


@keys.command("show")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
def show(file: str) -> None:
    """Show which key FILE contains (private or public, PEM or DER). Prints nothing secret."""
    with click_errors():
        raw = key_files.read(file)
        private = b"PRIVATE KEY" in raw
        public = key_files.load_public(file, lambda: ask_passphrase("Passphrase of %s" % file))
    what = (
        "private key, %s" % ("with a passphrase" if key_files.is_encrypted(raw) else "no passphrase")
        if private
        else "public key"
    )
    click.echo("%s: RSA of %d bits, %s" % (file, public.key_size, what))
    click.echo("fingerprint %s" % key_files.fingerprint(public))


@keys.command("export")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.argument("out", type=click.Path(dir_okay=False))
@click.option("--der", is_flag=True, help="Write binary DER instead of PEM: 30 % smaller, for boards.")
def export(file: str, out: str, der: bool) -> None:
    """Write the public key of FILE to the new file OUT."""
    with click_errors():
        public = key_files.load_public(file, lambda: ask_passphrase("Passphrase of %s" % file))
        key_files.create_file(out, key_files.public_bytes(public, der), 0o644)
    click.echo("public key %s, fingerprint %s" % (out, key_files.fingerprint(public)))


# ---- ioto sign


def parse_expiry(context: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    """Parse `90d` (from now) or `2027-12-31` to Unix seconds."""
    if text is None:
        return None
    if re.fullmatch("[0-9]{1,5}[hdwy]", text):
        return int(time.time()) + int(text[:-1]) * _UNITS[text[-1]]
    try:
        return int(time.mktime(time.strptime(text, "%Y-%m-%d")))
    except (ValueError, OverflowError):
        raise click.BadParameter(
            "%s: expected: a time from now, such as 12h, 90d, 8w or 2y, or a day such as 2027-12-31" % text
        ) from None


def manifest_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options for the fields of the signed manifest, except product and version."""
    for option in (
        click.option("--minimum", metavar="SEMVER", help="Lowest version that may update to this one."),
        click.option(
            "--expires",
            metavar="WHEN",
            callback=parse_expiry,
            help="No device begins to install it after this time (90d, 8w, 2y from now, or a day such as 2027-12-31).",
        ),
        click.option(
            "--allow-downgrade",
            is_flag=True,
            help="Also for devices that run, or have run, a higher version; requires --expires, at most 30 days.",
        ),
        click.option("--downgrade-from", metavar="SEMVER", help="Also for devices that run this higher version."),
        click.option("--any-file", is_flag=True, help="IMAGE is not an ESP application but a file for Linux devices."),
    ):
        command = option(command)
    return command


@contextmanager
def extracted_application(image: str, any_file: bool) -> Iterator[str]:
    """The path `image`, or for a whole firmware file, a temporary file with its application.

    Prints a note if it extracts the application.
    """
    with open(image, "rb") as file:
        try:
            found = None if any_file else firmware.locate_application(file)
        except firmware.DamagedFirmware as e:
            raise click.ClickException("%s: %s: build or download it again" % (image, e)) from e
        if found is None:
            yield image
            return
        at, size = found
        click.echo(
            "%s is a whole firmware file: using its application, %d bytes from offset 0x%X" % (image, size, at),
            err=True,
        )
        with tempfile.NamedTemporaryFile(suffix=".bin") as out:
            file.seek(at)
            out.write(file.read(size))
            out.flush()
            yield out.name


@contextmanager
def signed_file(
    image: str,
    private: RSAPrivateKey,
    folder: str | Path,
    product: str,
    version: str,
    minimum: str | None,
    expires: int | None,
    allow_downgrade: bool,
    downgrade_from: str | None,
    any_file: bool,
) -> Iterator[str]:
    """A temporary file in `folder`: the signed manifest, followed by `image`.

    It is deleted after the block unless it has been renamed.
    """
    if allow_downgrade and downgrade_from:
        raise click.UsageError("--allow-downgrade and --downgrade-from: give only one of them")
    down = downgrade_from or allow_downgrade or None
    handle, path = tempfile.mkstemp(suffix=".signed", dir=folder)
    try:
        with click_errors(), os.fdopen(handle, "wb") as out, extracted_application(image, any_file) as alone:
            release.sign(
                alone, out, private, product, version, any_file, image, minimum=minimum, expires=expires, down=down
            )
        yield path
    finally:
        Path(path).unlink(missing_ok=True)


@click.command()
@click.argument("image", type=click.Path(exists=True, dir_okay=False))
@click.option("--key", required=True, type=click.Path(exists=True, dir_okay=False), help="File of the private key.")
@click.option("--product", required=True, metavar="ID", help='Product id, as in "product" of ioto.json.')
@click.option("--version", required=True, metavar="SEMVER", help="Version of the release.")
@click.option(
    "--output",
    "out",
    cls=RenamedOption,
    was="--out",
    type=OutputFile(),
    help="File to write; by default, IMAGE.signed.",
)
@manifest_options
def sign(image: str, key: str, product: str, version: str, out: str | None, **more: Any) -> None:
    """Sign IMAGE as a release, without a network. Publish IMAGE.signed with `ioto publish`.

    The signed file begins with 4096 bytes that name the product, the chip and the version; the image follows. Any
    server can offer it; boards without keys accept it too.
    """
    out = out or image + ".signed"
    folder = os.path.dirname(os.path.abspath(out))
    with signed_file(image, private_key(key), folder, product, version, **more) as path:
        os.chmod(path, 0o644)
        os.replace(path, out)
    size = os.path.getsize(out)
    click.echo("%s: %s %s, %d bytes, signed" % (out, product, version, size))
