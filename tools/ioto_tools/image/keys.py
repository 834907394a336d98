"""Create, read and use release keys: RSA keys in PEM files, as openssl and espsecure use them.

A private key is written only to its own file, and is never part of an error or a log.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)  # fmt: skip

BITS = 3072  # as in ESP32 Secure Boot v2
_SALT_BYTES = 32


class KeyFileError(Exception):
    """A key file can't be created or used; the text names it and says what to do."""


def create(path: str | Path, passphrase: bytes) -> rsa.RSAPrivateKey:
    """Create a private key in the new file `path` (mode 0600), encrypted unless `passphrase` (bytes) is empty."""
    private = generate()
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    create_file(path, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption), 0o600)
    return private


def generate() -> rsa.RSAPrivateKey:
    """A new private key, not stored in a file."""
    return rsa.generate_private_key(65537, BITS)


def load(path: str | Path, passphrase: bytes = b"") -> rsa.RSAPrivateKey:
    """The private key in the PEM file `path`."""
    raw = read(path)
    try:
        found = load_pem_private_key(raw, passphrase or None)
    except TypeError:
        raise KeyFileError(
            "%s: %s" % (path, "the key has no passphrase" if passphrase else "the key needs its passphrase")
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise KeyFileError(
            "%s: %s" % (path, "wrong passphrase" if is_encrypted(raw) else "no private key in PEM format")
        ) from None
    if not isinstance(found, rsa.RSAPrivateKey) or not _fits(found.public_key()):
        raise KeyFileError(
            "%s: not an RSA key of 2048 to 4096 bits with the exponent 65537: `ioto keys new` creates one" % path
        )
    return found


def load_public(path: str | Path, passphrase: Callable[[], bytes] | None = None) -> rsa.RSAPublicKey:
    """The public key in the file `path`, PEM or DER, or the public key of a private key.

    `passphrase()` is called if the private key is encrypted.
    """
    raw = read(path)
    if b"PRIVATE KEY" in raw:
        return load(path, passphrase() if is_encrypted(raw) and passphrase else b"").public_key()
    return parse_public(raw, path)


def parse_public(raw: bytes, path: str | Path) -> rsa.RSAPublicKey:
    """The public key in `raw`, PEM or DER; `path`: its name in errors."""
    try:
        found = load_pem_public_key(raw) if raw.startswith(b"-----") else load_der_public_key(raw)
    except (ValueError, UnsupportedAlgorithm):
        raise KeyFileError("%s: no key in PEM or DER format" % path) from None
    if not isinstance(found, rsa.RSAPublicKey) or not _fits(found):
        raise KeyFileError(
            "%s: not an RSA key of 2048 to 4096 bits with the exponent 65537: `ioto keys new` creates one" % path
        )
    return found


def _fits(public: rsa.RSAPublicKey) -> bool:
    """True if boards accept such a key."""
    return 2048 <= public.key_size <= 4096 and public.public_numbers().e == 65537


def public_bytes(public: rsa.RSAPublicKey, der: bool = False) -> bytes:
    """SubjectPublicKeyInfo, the format for `update.keys` of a board."""
    return public.public_bytes(Encoding.DER if der else Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def fingerprint(public: rsa.RSAPublicKey) -> str:
    """SHA-256 of the DER form in hex: the same for all files with the same key."""
    return hashlib.sha256(public_bytes(public, der=True)).hexdigest()


def is_encrypted(raw: bytes) -> bool:
    return b"ENCRYPTED" in raw


def sign(private: rsa.RSAPrivateKey, message: bytes) -> bytes:
    """Sign with RSASSA-PSS, SHA-256, MGF1-SHA-256 and a salt of 32 bytes, as lib/ioto/pss.py verifies it."""
    return private.sign(message, padding.PSS(padding.MGF1(hashes.SHA256()), _SALT_BYTES), hashes.SHA256())


def has_signed(public: rsa.RSAPublicKey, message: bytes, signature: bytes) -> bool:
    """Is `signature`, as made by sign(), of this key?"""
    try:
        public.verify(signature, message, padding.PSS(padding.MGF1(hashes.SHA256()), _SALT_BYTES), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def create_file(path: str | Path, raw: bytes, mode: int) -> None:
    """Create a file, completely or not at all; KeyFileError if it exists."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise KeyFileError("%s exists and is not overwritten: choose another name" % path) from None
    except OSError as e:
        raise KeyFileError("%s: %s" % (path, e.strerror)) from None
    try:
        with os.fdopen(handle, "wb") as f:
            os.fchmod(f.fileno(), mode)  # regardless of the umask
            f.write(raw)
    except OSError as e:
        Path(path).unlink(missing_ok=True)
        raise KeyFileError("%s: %s" % (path, e.strerror)) from None


def read(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as e:
        raise KeyFileError("%s: %s" % (path, e.strerror)) from None
