"""Stores images in an S3-compatible store, through obstore, each named after its SHA-256.

A received file stays in the site's folder until it is inspected and its name is known, so incomplete or refused files
are never in the store.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from ..http.errors import Unavailable
from .folder_store import FolderStore, ImageFile, Incoming

SETTINGS = {  # of `images` in site.toml: (default, type)
    "bucket": (None, str),
    "prefix": ("", str),  # of the images' names in the bucket
    "endpoint": ("", str),  # http(s)://HOST[:PORT]; "" = Amazon's
    "region": ("us-east-1", str),
    "access_key_id": ("", str),  # "" = the variable AWS_ACCESS_KEY_ID, or the role of the machine
    "secret_access_key": ("", str),  # "" = the variable AWS_SECRET_ACCESS_KEY
    "virtual_hosted": (False, bool),  # the bucket is part of the host name
    "links": (True, bool),  # devices get the image from the store; false: through the cloud
}
_PART_BYTES = 5 * 1024 * 1024  # size of the parts of an upload: the minimum of S3
_READ_BYTES = 256 * 1024  # bytes requested from the store at a time
_READ_S, _WRITE_S = 10, 60  # for a part, including all retries
_LINK_S = 7 * 24 * 3600  # the longest lifetime of an S3 link
_CLOCKS_S = 900  # the store's clock may be ahead by this much: S3 tolerates the same for requests


class S3Images(FolderStore):
    """The images in a bucket; `settings`: those of SETTINGS. `folder`: for files that are being received."""

    def __init__(self, folder: str | Path, settings: dict[str, Any]) -> None:
        super().__init__(folder)
        self.where = "%s/%s" % (settings["endpoint"] or "s3:/", settings["bucket"])
        self._links = settings["links"]
        with self._errors_as_unavailable():
            self._reading, self._writing = _store(settings, _READ_S), _store(settings, _WRITE_S)

    def open(self, checksum: str) -> ImageFile:
        name = self.name(checksum)
        with self._errors_as_unavailable():
            try:
                return _Image(self, obstore.open_reader(self._reading, name, buffer_size=_READ_BYTES))
            except FileNotFoundError as e:
                raise FileNotFoundError("images in %s: there is no object %s" % (self.where, name)) from e

    def link(self, checksum: str, seconds: int) -> str | None:
        if not self._links:
            return None
        with self._errors_as_unavailable():
            return obstore.sign(
                self._reading, "GET", self.name(checksum), timedelta(seconds=min(seconds + _CLOCKS_S, _LINK_S))
            )

    def keep(self, incoming: Incoming) -> None:
        name = self.name(incoming.checksum)
        with self._errors_as_unavailable(), open(incoming.path, "rb") as file:
            try:
                obstore.put(self._writing, name, file, chunk_size=_PART_BYTES, max_concurrency=2)
                size = obstore.head(self._writing, name)["size"]
            except FileNotFoundError as e:
                text = "images in %s: there is no such bucket: create it, or correct images.bucket in site.toml"
                raise Unavailable(text % self.where) from e
        if size != incoming.size:
            raise Unavailable("images in %s: %d of %d bytes were stored" % (self.where, size, incoming.size))

    def delete(self, checksum: str) -> None:
        with self._errors_as_unavailable():
            try:
                obstore.delete(self._writing, self.name(checksum))
            except FileNotFoundError:  # some stores raise this if there is no such image
                pass

    @contextmanager
    def _errors_as_unavailable(self) -> Iterator[None]:
        try:
            yield
        except BaseError as e:
            raise Unavailable("images in %s: %s" % (self.where, str(e).partition("\n")[0])) from e


class _Image:
    """An object in the store, with the interface ImageFile."""

    def __init__(self, store: S3Images, reader: Any) -> None:
        self.name = store.where
        self.size: int = reader.size
        self._store = store
        self._reader = reader

    def seek(self, offset: int) -> None:
        self._reader.seek(offset)

    def read(self, n: int) -> bytes:
        with self._store._errors_as_unavailable():
            return bytes(self._reader.read(n))

    def close(self) -> None:
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _store(settings: dict[str, Any], seconds: int) -> S3Store:
    config = {key: settings[key] for key in ("endpoint", "access_key_id", "secret_access_key") if settings[key]}
    return S3Store(
        settings["bucket"],
        prefix=settings["prefix"] or None,
        region=settings["region"],
        virtual_hosted_style_request=settings["virtual_hosted"],
        client_options={
            "allow_http": True,
            "connect_timeout": timedelta(seconds=5),
            "timeout": timedelta(seconds=seconds),
        },
        retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=seconds)},
        **config,
    )
