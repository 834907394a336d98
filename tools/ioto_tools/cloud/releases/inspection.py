"""Inspects every byte of a file before it is published, with the checks of a board."""

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
    "image_merged": "publish the application alone, micropython.bin of the build, or the whole firmware .bin as "
    "MicroPython offers it",
    "image_magic": "publish micropython.bin of the build; a file for Linux devices goes with --any-file",
    "image_malformed": "build or download it again",
    "image_version": "build it with this version, or publish it as the version that it says",
    "manifest_malformed": "sign it again with `ioto sign`",
    "manifest_mismatch": "the file was changed after it was signed: sign it again with `ioto sign`",
}


def application(file: BinaryIO, path: str | Path, any_file: bool = False) -> BinaryIO:
    """The file to publish: `file` (`path` for messages), or only the application from a whole firmware file, as an open
    file.

    A whole firmware file contains bootloader, partition table and application. CloudError if it is damaged.
    """
    try:
        found = None if any_file else firmware.inside(file)
    except firmware.DamagedFirmware as e:
        raise CloudError("%s: %s: build or download it again" % (path, e)) from e
    if found is None:
        return file
    file.seek(found[0])
    return io.BytesIO(file.read(found[1]))


class Inspection:
    """Inspects the open file `file` (`path` for messages), to be published as `version` of the product with the id
    `product`.

    `manifest`, after the first chunk is read: JSON of the signed text and its signature, None if the file is not
    signed.
    """

    def __init__(self, file: BinaryIO, path: str | Path, product: str, version: str, any_file: bool) -> None:
        self.file = file
        self.path = path
        self.product = product
        self.version = version
        self.any_file = any_file
        self.manifest: str | None = None
        self.chip: int | None = (
            None  # chip id of the image, after all chunks are read; None if it is not an ESP application
        )
        self.head: str | None = None  # hex of its header; as for `chip`

    def chunks(self, progress: Callable[[int], object]) -> Iterator[bytes]:
        """Yield the file in chunks. CloudError, at the latest after the last chunk, if the file is invalid."""
        size = self.file.seek(0, os.SEEK_END)
        self.file.seek(0)
        if size == 0:
            raise CloudError("%s: the file is empty: build or download it again" % self.path)
        try:
            front, looks = self._begin(size)
            done = 0
            yield front
            while chunk := self.file.read(CHUNK_BYTES):
                for look in looks:
                    look.feed(done, chunk)
                done += len(chunk)
                progress(len(chunk))
                yield chunk
            if done + len(front) != size:
                raise CloudError(
                    "%s: it changed while it was read: wait until the build has finished, then publish it again"
                    % self.path
                )
            for look in looks:
                look.end()
                self.chip, self.head = getattr(look, "chip", None), getattr(look, "head", None)
        except UpdateError as e:
            remedy = _REMEDY.get(e.reason, "see docs/cloud.md")
            raise CloudError("%s: not an application image (%s): %s" % (self.path, e, remedy)) from e

    def _begin(self, size: int) -> "tuple[bytes, list[_Whole | _Look]]":
        """(the envelope or empty bytes, the object that checks the rest)."""
        front = self.file.read(release.ENVELOPE_BYTES)
        found = release.unwrap(front)
        said = self._said(*found) if found else None
        if said is None:
            front = b""
            self.file.seek(0)
        looks: list[_Whole | _Look] = [_Whole(said)] if said else []
        if not self.any_file and (not said or "chip" in said):
            looks.append(_Look(size - len(front), self.version))
        return front, looks

    def _said(self, text: bytes, signature: bytes) -> dict[str, Any]:
        said = release.parse(text)
        for key, wanted in (("product", self.product), ("version", self.version)):
            if said[key] != wanted:
                told = self.path, key, said[key], wanted
                raise CloudError("%s: its manifest says %s %s, not %s: sign it again with `ioto sign`" % told)
        self.manifest = json.dumps({"manifest": text.decode(), "signature": base64.b64encode(signature).decode()})
        return said


class _Whole:
    """Checks that the image is the one in the manifest."""

    def __init__(self, said: dict[str, Any]) -> None:
        self.said = said
        self.size = 0
        self.sha256 = hashlib.sha256()

    def feed(self, offset: int, chunk: bytes) -> None:
        self.size += len(chunk)
        self.sha256.update(chunk)

    def end(self) -> None:
        if (self.size, self.sha256.hexdigest()) != (self.said["size"], self.said["sha256"]):
            raise UpdateError("manifest_mismatch", "size or SHA-256 of the image")


class _Look:
    """The checks of a board, plus the image's own hash, which on a board the bootloader checks."""

    def __init__(self, size: int, version: str) -> None:
        self.size = size
        self.version = version
        self.walk = image.Walk(size)
        self.sha256 = hashlib.sha256()
        self.tail = b""  # the last 32 bytes so far: the hash, if the image contains one

    def feed(self, offset: int, chunk: bytes) -> None:
        if offset == 0:
            image.check(chunk[: image.CHECK_BYTES], self.size, self.size)
            self.chip = chunk[12] | chunk[13] << 8  # esp_image_header_t.chip_id
            self.head = chunk[:24].hex()
            said = chunk[48:80].split(b"\0")[0].decode(errors="replace")  # esp_app_desc_t.version
            if not terms.same_version(said, self.version):
                raise UpdateError("image_version", "it says %s" % said)
        self.walk.feed(offset, chunk)
        held = self.tail + chunk
        self.sha256.update(held[:-32])
        self.tail = held[-32:]

    def end(self) -> None:
        self.walk.end()
        if self.walk.hashed and self.sha256.digest() != self.tail:
            raise UpdateError("image_malformed", "its own SHA-256 does not match")
