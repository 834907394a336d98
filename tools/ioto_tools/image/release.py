"""Signed releases: an image preceded by its manifest and signature (format: lib/ioto/release.py).

The signed text is exactly the transmitted text: sorted keys, no whitespace, serialized only once.
"""

import hashlib
import json
import os
import struct
import time
from pathlib import Path
from typing import Any, BinaryIO

from cryptography.hazmat.primitives.asymmetric import rsa
from ioto import image as esp_image
from ioto import release, semver
from ioto.errors import UpdateError

from . import keys

Manifest = dict[str, Any]  # the fields in lib/ioto/release.py
_CHUNK_BYTES = 1 << 20


class ReleaseError(Exception):
    """A file can't be signed, or its signed content is invalid; the text names the file."""


def read(path: str | Path) -> tuple[Manifest, bytes] | None:
    """(manifest as a dict, signature) of a signed file; None for any other file."""
    with open(path, "rb") as f:
        found = release.unwrap(f.read(release.ENVELOPE_BYTES))
    return found and (release.parse(found[0]), found[1])


def build_envelope(manifest: bytes, signature: bytes) -> bytes:
    """The envelope as bytes (format: lib/ioto/release.py); ValueError if manifest and signature are too long."""
    raw = release.MAGIC + struct.pack(">HH", len(manifest), len(signature)) + manifest + signature
    if len(raw) > release.ENVELOPE_BYTES:
        raise ValueError(
            "manifest and signature have %d bytes, at most %d fit" % (len(raw) - 12, release.ENVELOPE_BYTES - 12)
        )
    return raw + bytes(release.ENVELOPE_BYTES - len(raw))


def sign(
    path: str | Path,
    out: BinaryIO,
    private: rsa.RSAPrivateKey,
    product: str,
    version: str,
    any_file: bool = False,
    name: str | Path | None = None,
    **more: Any,
) -> Manifest:
    """Write manifest, signature and the content of file `path` to the file object `out`; returns the manifest.

    `more`: the fields minimum, expires, down, base, created of release.FIELDS; None is omitted. If `path` was extracted
    from the file `name`, errors name that file. ReleaseError if the file can't be signed.
    """
    name = name or path
    if read(path):
        raise ReleaseError("%s: already signed: sign the image that it was made from" % name)
    manifest: Manifest = {
        "product": product, "version": version, "format": "raw", "size": os.path.getsize(path), "sha256": _sha256(path),
        "created": int(time.time()),
    }  # fmt: skip
    if not any_file:
        manifest["chip"] = _chip(path, manifest["size"], name)
    manifest.update({key: value for key, value in more.items() if value is not None})
    if (
        manifest.get("down") is True
        and not 0 <= manifest.get("expires", 0) - manifest["created"] <= release.DOWN_MOST_S
    ):
        raise ReleaseError(
            "%s: a downgrade from every higher version must expire within 30 days: use --expires 30d, "
            "or --downgrade-from VERSION" % name
        )
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    try:
        for each in (version, manifest.get("down")):
            if isinstance(each, str):
                semver.parse(each)
        release.parse(text)
        envelope = build_envelope(text, keys.sign(private, text))
    except (ValueError, UpdateError) as e:
        raise ReleaseError("%s: %s" % (name, e)) from e
    out.write(envelope)
    with open(path, "rb") as f:
        while chunk := f.read(_CHUNK_BYTES):
            out.write(chunk)
    return manifest


def _sha256(path: str | Path) -> str:
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def _chip(path: str | Path, size: int, name: str | Path) -> int:
    with open(path, "rb") as f:
        head = f.read(esp_image.CHECK_BYTES)
    try:
        esp_image.check(head, size, size)
    except UpdateError as e:
        raise ReleaseError(
            "%s: not an application image (%s); for a file for Linux devices use --any-file" % (name, e)
        ) from e
    return int.from_bytes(head[12:14], "little")  # esp_image_header_t.chip_id
