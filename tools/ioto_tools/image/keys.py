"""Release keys: RSA in PEM files as openssl and espsecure use them, made, read and used with `cryptography`.

The private key never leaves this module but encrypted into its file; no error and no log has a word of it.
"""

import hashlib
import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat, PublicFormat, load_der_public_key, load_pem_private_key, load_pem_public_key,
)  # fmt: skip

BITS = 3072  # as ESP32 Secure Boot v2
_SALT_BYTES = 32


class KeyFileError(Exception):
    """A key file that can't be made or used; the text names it and says what to do."""


def make(path, passphrase):
    """A new private key in the file `path` (0600, never over another), encrypted unless `passphrase` (bytes) is empty."""
    private = drawn()
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    write_new(path, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption), 0o600)
    return private


def drawn():
    """A new private key, kept nowhere."""
    return rsa.generate_private_key(65537, BITS)


def load(path, passphrase=b""):
    """The private key in the PEM file `path`."""
    raw = read(path)
    try:
        found = load_pem_private_key(raw, passphrase or None)
    except TypeError:
        raise KeyFileError("%s: %s" % (path, "it has no passphrase" if passphrase else "it needs its passphrase")) from None
    except (ValueError, UnsupportedAlgorithm):
        raise KeyFileError("%s: %s" % (path, "not with this passphrase" if is_encrypted(raw) else "no private key in PEM")) from None
    if not isinstance(found, rsa.RSAPrivateKey) or not _fits(found.public_key()):
        raise KeyFileError("%s: not an RSA key of 2048 to 4096 bits with the exponent 65537: `ioto keys new` makes one" % path)
    return found


def load_public(path, passphrase=None):
    """The public key in the file `path`: PEM or DER, or the one that belongs to a private key.

    `passphrase()` is asked for one where the private key has one.
    """
    raw = read(path)
    if b"PRIVATE KEY" in raw:
        return load(path, passphrase() if is_encrypted(raw) and passphrase else b"").public_key()
    try:
        found = load_pem_public_key(raw) if raw.startswith(b"-----") else load_der_public_key(raw)
    except (ValueError, UnsupportedAlgorithm):
        raise KeyFileError("%s: no key in PEM or DER" % path) from None
    if not isinstance(found, rsa.RSAPublicKey) or not _fits(found):
        raise KeyFileError("%s: an RSA key of 2048 to 4096 bits with the exponent 65537 is wanted" % path)
    return found


def _fits(public):
    """Would a board take it?"""
    return 2048 <= public.key_size <= 4096 and public.public_numbers().e == 65537


def public_bytes(public, der=False):
    """SubjectPublicKeyInfo, as `update.keys` of a board wants it."""
    return public.public_bytes(Encoding.DER if der else Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def fingerprint(public):
    """SHA-256 of the DER form, hex: the same for every file of the same key."""
    return hashlib.sha256(public_bytes(public, der=True)).hexdigest()


def is_encrypted(raw):
    return b"ENCRYPTED" in raw


def sign(private, message):
    """RSASSA-PSS with SHA-256, MGF1-SHA-256 and a salt of 32 bytes: what lib/ioto/pss.py verifies."""
    return private.sign(message, padding.PSS(padding.MGF1(hashes.SHA256()), _SALT_BYTES), hashes.SHA256())


def write_new(path, raw, mode):
    """A file that was not there before; all of it or nothing."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise KeyFileError("%s is there already and is not overwritten: choose another name" % path) from None
    except OSError as e:
        raise KeyFileError("%s: %s" % (path, e.strerror)) from None
    try:
        with os.fdopen(handle, "wb") as f:
            os.fchmod(f.fileno(), mode)  # whatever the umask
            f.write(raw)
    except OSError as e:
        Path(path).unlink(missing_ok=True)
        raise KeyFileError("%s: %s" % (path, e.strerror)) from None


def read(path):
    try:
        return Path(path).read_bytes()
    except OSError as e:
        raise KeyFileError("%s: %s" % (path, e.strerror)) from None
