"""An image becomes a release: looked at, copied into the store, entered in the database. All of it or nothing."""

import base64
import hashlib
import os
import re

import sqlalchemy as sa
from ioto import image, release, semver
from ioto.errors import UpdateError

from . import database, selection
from .refusal import CloudError, Missing
from .store import CHUNK_BYTES

NEWER = "device.version < update.version"

_REMEDY = {
    "image_merged": "publish the application alone: micropython.bin of the build, or the file from offset 0x10000 on",
    "image_magic": "publish micropython.bin of the build; a file for Linux devices goes with --any-file",
    "image_malformed": "build or download it again",
    "manifest_malformed": "sign it again with `ioto sign`",
    "manifest_mismatch": "the file was changed after it was signed: sign it again with `ioto sign`",
}


def publish(site, path, product, version, description="", any_file=False, enabled=True, progress=lambda n: None):
    """Publish the file `path` as `version` of `product` (id or name); (release as a dict, True if it is new).

    A signed file's manifest has to say the same; its signature is for the devices to verify. The same file again under the same version changes nothing. `progress(n)`: n more bytes are done.
    CloudError for everything that will not do; then nothing has changed.
    """
    owner = product_of(site, product)
    if not semver.is_valid(version):
        raise CloudError("version %s: wanted: SemVer 2.0, such as 1.4.0 or 2.0.0-rc.1" % version)
    try:
        with open(path, "rb") as file, site.images.receive(_chunks(file, path, owner, version, any_file, progress)) as incoming:
            return _enter(site, incoming, owner, version, description, enabled)
    except OSError as e:
        raise CloudError("%s: %s" % (e.filename or path, e.strerror)) from e


def product_of(site, word):
    """The product's row by name or id; CloudError."""
    return site.database.read(_product_of, word)


def _product_of(conn, word):
    found = database.product(conn, word)
    if found is None:
        names = [each["name"] for each in database.all_products(conn)]
        known = "known: %s" % ", ".join(names) if names else "there is none yet"
        raise Missing("product %s: %s; make it with `ioto product new %s`" % (word, known, word))
    return found


def _chunks(file, path, owner, version, any_file, progress):
    """The file in chunks, every byte looked at on its way."""
    size = os.fstat(file.fileno()).st_size
    if size == 0:
        raise CloudError("%s: the file is empty" % path)
    try:
        front = file.read(release.ENVELOPE_BYTES)
        found = release.unwrap(front)
        said = _said(path, found[0], owner, version) if found else None
        if said is None:
            front = b""
            file.seek(0)
        looks = [_Whole(said)] if said else []
        if not any_file and (not said or "chip" in said):
            looks.append(_Look(size - len(front)))
        done = 0
        yield front
        while chunk := file.read(CHUNK_BYTES):
            for look in looks:
                look.feed(done, chunk)
            done += len(chunk)
            progress(len(chunk))
            yield chunk
        if done + len(front) != size:
            raise CloudError("%s: it changed while it was read: wait for the build to end" % path)
        for look in looks:
            look.end()
    except UpdateError as e:
        raise CloudError("%s: no application image (%s): %s" % (path, e, _REMEDY.get(e.reason, "see docs/cloud.md"))) from e


def _said(path, raw, owner, version):
    said = release.parse(raw)
    for key, wanted in (("product", owner["id"]), ("version", version)):
        if said[key] != wanted:
            raise CloudError("%s: its manifest says %s %s, not %s: sign it again with `ioto sign`" % (path, key, said[key], wanted))
    return said


class _Whole:
    """Is the image the one that the manifest is about?"""

    def __init__(self, said):
        self.said = said
        self.size = 0
        self.sha256 = hashlib.sha256()

    def feed(self, offset, chunk):
        self.size += len(chunk)
        self.sha256.update(chunk)

    def end(self):
        if (self.size, self.sha256.hexdigest()) != (self.said["size"], self.said["sha256"]):
            raise UpdateError("manifest_mismatch", "size or SHA-256 of the image")


class _Look:
    """The checks a board makes, and the image's own hash, which a board leaves to its bootloader."""

    def __init__(self, size):
        self.size = size
        self.walk = image.Walk(size)
        self.sha256 = hashlib.sha256()
        self.tail = b""  # the last 32 bytes so far: the hash, if the image carries one

    def feed(self, offset, chunk):
        if offset == 0:
            image.check(chunk[: image.CHECK_BYTES], self.size, self.size)
        self.walk.feed(offset, chunk)
        held = self.tail + chunk
        self.sha256.update(held[:-32])
        self.tail = held[-32:]

    def end(self):
        self.walk.end()
        if self.walk.hashed and self.sha256.digest() != self.tail:
            raise UpdateError("image_malformed", "its own SHA-256 does not match")


def _enter(site, incoming, product, version, description, enabled):
    release = {
        "id": _update_id(product["id"], version, incoming.checksum),
        "product": product["id"],
        "version": version,
        "precedence": selection.precedence(version),
        "checksum": incoming.checksum,
        "size": incoming.size,
        "description": description,
        "enabled": enabled,
        "created_s": site.now_s(),
        "policy": NEWER,
        "percentage": 100,
        "state": "active",
        "taken": 0,
        "counts": "{}",
    }
    site.database.read(_there, release, product)
    incoming.keep()  # also where the release is there: this mends a file that was lost
    there = site.database.write(_add, release, product)
    return there or release, not there


def _add(conn, release, product):
    there = _there(conn, release, product)  # another publisher may have been faster
    if not there:
        database.add_release(conn, release)
    return there


def _there(conn, release, product):
    """The release of this version, or None. CloudError if it has other content."""
    there = database.release_by_version(conn, product["id"], release["precedence"])
    if there and (there["checksum"] != release["checksum"] or there["version"] != release["version"]):
        raise CloudError(
            "%s %s: version %s is published with other content (SHA-256 %s...): a version never changes, choose a higher one"
            % (product["name"], release["version"], there["version"], there["checksum"][:12])
        )
    return there


def _update_id(product, version, checksum):
    """26 characters that follow from what the update is: the same update has the same id wherever it is published."""
    digest = hashlib.sha256("\n".join((product, version, checksum)).encode()).digest()
    return base64.b32encode(digest).decode()[:26]


def new_product(site, name, id=None):
    """Make a product; its row as a dict. `id` stands in ioto.json of every board: a random one unless given."""
    for what, text in (("name", name), ("id", id)):
        if text is not None and not re.fullmatch("[!-~]{1,64}", text):
            raise CloudError("product %s %r: wanted: 1 to 64 ASCII characters without a space" % (what, text))
    id = id or base64.b32encode(site.random_bytes(16)).decode()[:26]
    try:
        return site.database.write(database.add_product, id, name, site.now_s())
    except sa.exc.IntegrityError as e:
        raise CloudError("product %s: there is one with this name or id: see `ioto product list`" % name) from e
