"""Check the signed release manifest and its envelope: 4096 bytes in front of the image. Pure.

Call unwrap(), verify(), parse() and check(), in this order; an UpdateError says why a file must not be installed.

Envelope: the magic, lengths of manifest and signature (2 bytes each, big endian), manifest, signature, zeros. It is
part of the file, so any file server can deliver it. The manifest is JSON, and the signature covers exactly the
transferred bytes.
"""

import json
from hashlib import sha256

from .bounds import ENVELOPE_BYTES
from .errors import UpdateError

MAGIC = b"IOTO-REL"
_HEAD = 12
# key -> (type, required?)
FIELDS = {
    "product": (str, True),  # product id
    "version": (str, True),  # SemVer
    "size": (int, True),  # bytes of the image
    "sha256": (str, True),  # of the image, 64 lower-case hex digits
    "format": (str, True),  # raw
    "created": (int, True),  # Unix seconds
    "chip": (int, False),  # ESP chip id; absent: any file, for Linux
    "base": (str, False),  # SHA-256 of the image that must be running
    "minimum": (str, False),  # lowest version that may update to this one
    "expires": (int, False),  # Unix seconds after which no device starts this update
    # true: also for devices that run, or have run, a higher version; requires `expires`, at most 30 days after
    # `created`. Or a version: the one from which a device may downgrade.
    "down": (None, False),
}
DOWN_MOST_S = 30 * 86400


def unwrap(block):
    """Return (manifest, signature) as bytes if `block`, the first of the file, is an envelope; else None."""
    if bytes(block[:8]) != MAGIC:
        return None
    at = _HEAD + int.from_bytes(bytes(block[8:10]), "big")
    end = at + int.from_bytes(bytes(block[10:12]), "big")
    if len(block) != ENVELOPE_BYTES or end > ENVELOPE_BYTES or any(block[end:]):
        raise UpdateError("manifest_malformed", "envelope")
    return bytes(block[_HEAD:at]), bytes(block[at:end])


def verify(found, keys):
    """Verify the pair returned by unwrap() against `keys` (from pss.public_key); UpdateError if none of them signed it.

    A generator: it yields None after each multiplication, and finally the key_number() of the signing key. Without keys
    it yields nothing.
    """
    if not keys:
        return
    if not found:
        raise UpdateError("unsigned")
    from .pss import verify as verify_pss

    digest = sha256(found[0]).digest()
    for key in keys:
        for good in verify_pss(key, digest, found[1]):
            yield
        if good:
            yield key_number(key)
            return
    raise UpdateError("signature_invalid", "matches none of %d keys" % len(keys))


def key_number(key):
    """The integer that identifies a key in the record."""
    return key[0] & 0xFFFFFFFF


def trusted(update, keys):
    """Is the key that signed the record's update still one of `keys`? Without keys every update is trusted."""
    return not keys or update.get("by") in [key_number(key) for key in keys]


def parse(raw):
    """Return the manifest as a dict.

    UpdateError manifest_malformed for unknown or missing fields, wrong types or invalid values.
    """
    from .semver import parse as parse_version

    try:
        found = json.loads(raw)
        for key, (kind, needed) in FIELDS.items():
            if (needed or key in found) and (kind and type(found[key]) is not kind or kind is int and found[key] < 0):
                raise ValueError
        down = found.get("down", False)
        if down is True:
            if found["expires"] - found["created"] > DOWN_MOST_S:
                raise ValueError
        elif down is not False:
            parse_version(down)
        if set(found) - set(FIELDS) or len(found["sha256"]) != 64 or not found["size"] or found["format"] != "raw":
            raise ValueError
        parse_version(found["version"])
        parse_version(found.get("minimum", "0.0.0"))
    except (ValueError, TypeError, KeyError):
        raise UpdateError("manifest_malformed", str(raw[:60]))
    return found


def check(manifest, product, offered, version, chip, image, now, floor):
    """Compare the manifest with the board; UpdateError if they do not match.

    `product` of the board; `offered`: the offered version; `version`: the running one; `chip`: None on Linux; `image`:
    SHA-256 of the running image, or None; `now`: Unix seconds, or None without a clock; `floor`: a version or "".
    """
    from .semver import compare, not_below

    for key, mine in (("product", product), ("version", offered), ("chip", chip)):
        if manifest.get(key) != mine:
            raise UpdateError("manifest_mismatch", "%s %s, expected %s" % (key, manifest.get(key), mine))
    if manifest.get("base", image) != image:
        raise UpdateError("manifest_mismatch", "base differs")
    if compare(version, manifest.get("minimum", version)) < 0:
        raise UpdateError("manifest_mismatch", "minimum %s, running %s" % (manifest["minimum"], version))
    down = manifest.get("down")
    if now and now > manifest.get("expires", now) or not now and down is True:
        raise UpdateError("manifest_expired", "%s, now %s" % (manifest["expires"], now))
    if down is not True and (not down or compare(down, version) != 0):
        not_below(offered, version, floor)
