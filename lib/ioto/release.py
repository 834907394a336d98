"""The release manifest, which is signed, and the envelope it travels in: 4096 bytes in front of the image. Pure.

May this file be installed? unwrap(), verify(), parse(), check(), in this order; an UpdateError says why not.

Envelope: the magic, lengths of manifest and signature (2 bytes each, big endian), manifest, signature, zeros. It is part of
the file, so it gets through any server. The manifest is JSON; the very bytes that travel are signed.
"""

import json
from hashlib import sha256

from . import pss, semver
from .errors import UpdateError

ENVELOPE_BYTES = 4096  # one block: the image keeps its alignment, and a resumed download its arithmetic
MAGIC = b"IOTO-REL"
_HEAD = len(MAGIC) + 4
_TEXT, _NUMBER, _BOOL = 0, 1, 2
# key -> (type, must it be there?)
FIELDS = {
    "product": (_TEXT, True),  # product id
    "version": (_TEXT, True),  # SemVer
    "size": (_NUMBER, True),  # bytes of the image
    "sha256": (_TEXT, True),  # of the image, 64 lower-case hex digits
    "format": (_TEXT, True),  # raw
    "created": (_NUMBER, True),  # Unix seconds
    "chip": (_NUMBER, False),  # ESP chip id; not there: any file, for Linux
    "base": (_TEXT, False),  # SHA-256 of the image that must run
    "minimum": (_TEXT, False),  # least version that may step to this one
    "expires": (_NUMBER, False),  # Unix seconds after which nobody begins with it
    "down": (_BOOL, False),  # true: also to devices that run, or have run, a higher version
}


def seal(manifest, signature):
    """The envelope's bytes; ValueError if they don't fit."""
    raw = MAGIC + len(manifest).to_bytes(2, "big") + len(signature).to_bytes(2, "big") + manifest + signature
    if len(raw) > ENVELOPE_BYTES:
        raise ValueError("manifest and signature have %d bytes, %d fit" % (len(raw) - _HEAD, ENVELOPE_BYTES - _HEAD))
    return raw + bytes(ENVELOPE_BYTES - len(raw))


def unwrap(block):
    """(manifest, signature) as bytes, if the file that begins with `block` has an envelope; else None."""
    if bytes(block[: len(MAGIC)]) != MAGIC:
        return None
    at = _HEAD + int.from_bytes(bytes(block[_HEAD - 4 : _HEAD - 2]), "big")
    end = at + int.from_bytes(bytes(block[_HEAD - 2 : _HEAD]), "big")
    if len(block) != ENVELOPE_BYTES or end > ENVELOPE_BYTES or any(block[end:]):
        raise UpdateError("manifest_malformed", "the envelope does not add up")
    return bytes(block[_HEAD:at]), bytes(block[at:end])


def verify(found, keys):
    """A generator with a turn after each multiplication: unwrap()'s pair is signed by one of `keys` (pss.public_key), or
    there are no keys; else UpdateError.
    """
    if not keys:
        return
    if not found:
        raise UpdateError("unsigned", "keys are configured, the file has no signature")
    digest = sha256(found[0]).digest()
    for key in keys:
        for good in pss.verify(key, digest, found[1]):
            yield
        if good:
            return
    raise UpdateError("signature_invalid", "by none of %d keys" % len(keys))


def parse(raw):
    """The manifest as a dict of known fields with known types; UpdateError manifest_malformed. Nothing unknown is let through."""
    try:
        found = json.loads(raw)
        versions = [semver.parse(found[k]) for k in ("version", "minimum") if k in found]
    except (ValueError, TypeError, KeyError):
        versions = None
    good = versions and isinstance(found, dict) and not [k for k in found if k not in FIELDS]
    if good:
        for key, (kind, needed) in FIELDS.items():
            value = found.get(key)
            if value is None:
                good = good and not needed and key not in found
            elif kind == _TEXT:
                good = good and isinstance(value, str)
            elif kind == _BOOL:
                good = good and (value is True or value is False)
            else:
                good = good and isinstance(value, int) and value is not True and value is not False and value >= 0
    if not good or len(found["sha256"]) != 64 or found["size"] == 0 or found["format"] != "raw":
        raise UpdateError("manifest_malformed", str(raw[:60]))
    return found


def check(manifest, board):
    """Everything the manifest says, against the board: a dict of product, offered (version), version (running), chip (None on
    Linux), image (SHA-256 that runs, or None), now (Unix seconds, or None without a clock) and floor (version or "").
    """
    for key, mine in (("product", board["product"]), ("version", board["offered"]), ("chip", board["chip"])):
        if manifest.get(key) != mine:
            raise UpdateError("manifest_mismatch", "%s %s, wanted %s" % (key, manifest.get(key), mine))
    if manifest.get("base", board["image"]) != board["image"]:
        raise UpdateError("manifest_mismatch", "made from another image")
    if "minimum" in manifest and semver.compare(board["version"], manifest["minimum"]) < 0:
        raise UpdateError("manifest_mismatch", "from %s on, this is %s" % (manifest["minimum"], board["version"]))
    if board["now"] is not None and board["now"] > manifest.get("expires", board["now"]):
        raise UpdateError("manifest_expired", str(manifest["expires"]))
    if not manifest.get("down"):
        not_below(manifest["version"], board["version"], board["floor"])


def not_below(version, running, floor):
    """UpdateError unless `version` is above the running one, and not below the highest ever confirmed."""
    if semver.compare(version, running) <= 0:
        raise UpdateError("version_not_newer", "%s, running %s" % (version, running))
    if floor and semver.compare(version, floor) < 0:
        raise UpdateError("version_floor", "%s, once confirmed %s" % (version, floor))
