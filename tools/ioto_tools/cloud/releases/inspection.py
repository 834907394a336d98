"""Inspects every byte of a file before it is published, with the checks that a board makes."""

import base64
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ioto import image, release
from ioto.errors import UpdateError

from ...image import firmware
from ..http.errors import CloudError
from ..images.folder_store import CHUNK_BYTES
from ..rules import terms

_REMEDY = {
    "image_merged": "publish only the application (the build's micropython.bin), or a complete firmware .bin as "
    "downloaded from MicroPython",
    "image_magic": "publish the build's micropython.bin; for a file for Linux devices, use --any-file",
    "image_malformed": "build or download it again",
    "image_version": "build it with this version, or publish it as the version that it contains",
    "manifest_malformed": "sign it again with `ioto sign`",
    "manifest_mismatch": "the file was changed after it was signed: sign it again with `ioto sign`",
}


def extract_application(file: BinaryIO, path: str | Path, any_file: bool = False) -> BinaryIO:
    """The application to publish, as an open file: `file` itself, or a part of a whole firmware file.

    A whole firmware file contains bootloader, partition table and application. CloudError if it is damaged. `path`: for
    messages.
    """
    try:
        found = None if any_file else firmware.locate_application(file)
    except firmware.DamagedFirmware as e:
        raise CloudError("%s: %s: build or download it again" % (path, e)) from e
    if found is None:
        return file
    file.seek(found[0])
    return io.BytesIO(file.read(found[1]))


class Inspection:
    """Inspects the open file `file`, to be published as `version` of the product with the id `product`.

    `path`: for messages. `manifest` is set when the first chunk is read: JSON of the signed text and its signature;
    None if the file is not signed.
    """

    def __init__(self, file: BinaryIO, path: str | Path, product: str, version: str, any_file: bool) -> None:
        self.file = file
        self.path = path
        self.product = product
        self.version = version
        self.any_file = any_file
        self.manifest: str | None = None
        # The chip id of the image, after all chunks are read; None if it is not an ESP application.
        self.chip: int | None = None
        self.head: str | None = None  # hex of its header, under the same conditions

    def chunks(self, progress: Callable[[int], object]) -> Iterator[bytes]:
        """Yield the file in chunks. CloudError, at the latest after the last chunk, if the file is invalid."""
        size = self.file.seek(0, os.SEEK_END)
        self.file.seek(0)
        if size == 0:
            raise CloudError("%s: the file is empty: build or download it again" % self.path)
        try:
            front, checks = self._read_envelope(size)
            done = 0
            yield front
            while chunk := self.file.read(CHUNK_BYTES):
                for check in checks:
                    check.add(done, chunk)
                done += len(chunk)
                progress(len(chunk))
                yield chunk
            if done + len(front) != size:
                raise CloudError(
                    "%s: the file changed while it was read: publish it again when the build has finished" % self.path
                )
            for check in checks:
                check.finish()
                self.chip, self.head = getattr(check, "chip", None), getattr(check, "head", None)
        except UpdateError as e:
            remedy = _REMEDY.get(e.reason, "see docs/cloud.md")
            raise CloudError("%s: it cannot be published (%s): %s" % (self.path, e, remedy)) from e

    def _read_envelope(self, size: int) -> "tuple[bytes, list[_ManifestCheck | _ImageCheck]]":
        """(the envelope or empty bytes, the objects that check the rest)."""
        front = self.file.read(release.ENVELOPE_BYTES)
        found = release.unwrap(front)
        manifest = self._check_manifest(*found) if found else None
        if manifest is None:
            front = b""
            self.file.seek(0)
        checks: list[_ManifestCheck | _ImageCheck] = [_ManifestCheck(manifest)] if manifest else []
        if not self.any_file and (not manifest or "chip" in manifest):
            checks.append(_ImageCheck(size - len(front), self.version))
        return front, checks

    def _check_manifest(self, text: bytes, signature: bytes) -> dict[str, Any]:
        """The parsed release manifest. CloudError if it is not for this product and version."""
        manifest = release.parse(text)
        for key, wanted in (("product", self.product), ("version", self.version)):
            if manifest[key] != wanted:
                shown = self.path, key, manifest[key], wanted
                raise CloudError(
                    "%s: its release manifest contains %s %s, not %s: sign it again with `ioto sign`" % shown
                )
        self.manifest = json.dumps({"manifest": text.decode(), "signature": base64.b64encode(signature).decode()})
        return manifest


class _ManifestCheck:
    """Checks that the image has the size and SHA-256 in the release manifest."""

    def __init__(self, manifest: dict[str, Any]) -> None:
        self.manifest = manifest
        self.size = 0
        self.sha256 = hashlib.sha256()

    def add(self, offset: int, chunk: bytes) -> None:
        self.size += len(chunk)
        self.sha256.update(chunk)

    def finish(self) -> None:
        if (self.size, self.sha256.hexdigest()) != (self.manifest["size"], self.manifest["sha256"]):
            raise UpdateError("manifest_mismatch", "size or SHA-256 of the image")


class _ImageCheck:
    """Makes the checks that a board's agent makes, and verifies the image's own hash, as a board's bootloader does."""

    def __init__(self, size: int, version: str) -> None:
        self.size = size
        self.version = version
        self.walk = image.Walk(size)
        self.sha256 = hashlib.sha256()
        self.tail = b""  # the last 32 bytes so far: the hash, if the image contains one

    def add(self, offset: int, chunk: bytes) -> None:
        if offset == 0:
            image.check(chunk[: image.CHECK_BYTES], self.size, self.size)
            self.chip = chunk[12] | chunk[13] << 8  # esp_image_header_t.chip_id
            self.head = chunk[:24].hex()
            version = chunk[48:80].split(b"\0")[0].decode(errors="replace")  # esp_app_desc_t.version
            if not terms.matches_embedded_version(version, self.version):
                raise UpdateError("image_version", "it contains %s" % version)
        self.walk.feed(offset, chunk)
        held = self.tail + chunk
        self.sha256.update(held[:-32])
        self.tail = held[-32:]

    def finish(self) -> None:
        self.walk.end()
        if self.walk.hashed and self.sha256.digest() != self.tail:
            raise UpdateError("image_malformed", "its own SHA-256 does not match")
