"""Check a board's trust settings: the files of its TLS authorities and release keys.

The agent's own modules read the files, so the board accepts each file that is accepted here. No private key except
`tls.key` is deployed.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import load_der_private_key
from cryptography.x509 import load_der_x509_certificate
from ioto import certs, pss

_PRIVATE = b"PRIVATE KEY-----"


def read_authority(path: str | Path) -> bytes:
    """The bytes of a certificate file, DER or PEM; ValueError if it is invalid or contains a private key."""
    raw = _read(path)
    if _PRIVATE in raw:
        raise ValueError("%s: a private key: use the certificate (`ioto cloud certificate` writes it to ca.pem)" % path)
    try:
        for der in certs.certificates(raw):
            load_der_x509_certificate(der)
    except ValueError as e:
        raise ValueError("%s: %s" % (path, e)) from None
    return raw


def read_release_key(path: str | Path) -> bytes:
    """The bytes of a public release key file, DER or PEM; ValueError if it is invalid or a private key."""
    raw = _read(path)
    if _PRIVATE in raw:
        raise ValueError(
            "%s: a private key: use the public key (written by `ioto keys new` or `ioto keys export`)" % path
        )
    try:
        pss.public_key(raw)
    except ValueError as e:
        raise ValueError("%s: %s" % (path, e)) from None
    return raw


def _read(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as e:
        raise ValueError("%s: %s" % (path, e.strerror)) from None


def check_settings(folder: str | Path, config: dict[str, Any], files: dict[str, bytes]) -> None:
    """ValueError if the agent would not start with these settings, or if a file does not belong on a board.

    `config` is from config.load(), `files` is {path: bytes}. They are checked as by lib/ioto/setup.py at the start of
    the agent; in addition, tls.key must belong to tls.cert.
    """
    folder = Path(folder)
    for key in ("builder", "api"):
        if text := _fault_of_server(config, config[key]):
            raise ValueError("%s: %s: %s" % (folder / "ioto.json", key, text))
    for name in config["tls.ca"]:
        read_authority(folder / name)
    for name in config["update.keys"]:
        read_release_key(folder / name)
    if config["tls.cert"]:
        _check_client_certificate(folder, config["tls.cert"], config["tls.key"])
    for name, raw in files.items():
        if _PRIVATE in raw and name != config["tls.key"]:
            raise ValueError("%s: a private key: it does not belong on a board" % (folder / name))


def _fault_of_server(config: dict[str, Any], url: str) -> str | None:
    """Why the agent would not start with this URL of a server, or None."""
    if url.startswith("http://") and not config["tls.plain"]:
        return "plain http: use https (`ioto cloud certificate` creates the certificates)"
    if not url.startswith("https://") or not config["tls.verify"]:
        return None
    if not config["tls.ca"]:
        return "https: tls.ca must name the authorities to trust"
    if config["update.transport"] == "urequests":
        return "https: update.transport urequests does not verify servers: use asyncio"
    return None


def _check_client_certificate(folder: Path, cert: str, key: str) -> None:
    """ValueError unless the two files are a certificate and its private key, each PEM or DER."""
    try:
        certificate = load_der_x509_certificate(pss.der((folder / cert).read_bytes()))
        private = load_der_private_key(pss.der((folder / key).read_bytes()), None)
        if certificate.public_key() != private.public_key():
            raise ValueError("the key belongs to another certificate")
    except (OSError, ValueError, TypeError) as e:
        text = getattr(e, "strerror", None) or e
        raise ValueError("%s: tls.cert: %s, or tls.key: %s: %s" % (folder / "ioto.json", cert, key, text)) from None


def warnings(config: dict[str, Any]) -> Iterator[str]:
    """Warnings about settings that leave the board unprotected."""
    if not config["update.keys"]:
        yield (
            "no update.keys: whoever controls the cloud controls the board (`ioto keys new` creates a key, "
            "`ioto init --key` adds it)"
        )
    if not config["tls.verify"]:
        yield "tls.verify is false: anyone on the network path can impersonate the cloud"
    if config["tls.plain"]:
        yield "tls.plain is true: anyone on the network path can read and change what is sent over http"
