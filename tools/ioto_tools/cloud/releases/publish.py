"""Publishes a release: inspects the image, copies it into the store, adds it to the database. All or nothing."""

import base64
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import sqlalchemy as sa

from ..http.errors import CloudError, Conflict, Missing
from ..images.folder_store import Incoming
from ..rollout import lifecycle
from ..rules import selection, stages, terms
from ..storage import audit, change_log, queries
from ..storage.tables import Row
from . import forecast, image_deletion, packed, retention, term_warnings
from .inspection import Inspection, extract_application

if TYPE_CHECKING:
    from ..site.site import Site

Progress = Callable[[int], object]  # called with the number of bytes that were read
Terms = dict[str, Any]  # {term of a rollout: text or number}, as an operator writes them (terms.py)


def publish(
    site: "Site",
    path: str | Path,
    product: str,
    version: str,
    description: str = "",
    any_file: bool = False,
    enabled: bool = True,
    progress: Progress = lambda n: None,
    said: Terms | None = None,
    by_hand: bool = False,
    begin_at_once: bool = False,
) -> tuple[Row, bool]:
    """Publish the file `path` as `version` of `product` (id or name); return (release's row, True if it is new).

    The release manifest of a signed file must have the same version and product; devices verify its signature. `said`:
    {term: text} of its rollout (terms.py); `by_hand`: no device is offered the release before an operator approves it;
    `begin_at_once`: it does not wait for its packed files.
    Publishing the same file under the same version again changes nothing. `progress(n)` is called when n more bytes
    have been read. CloudError, without any change, if anything is invalid.
    """
    try:
        with open(path, "rb") as file:
            return publish_file(
                site,
                file,
                path,
                product,
                version,
                description,
                any_file,
                enabled,
                progress,
                said,
                by_hand,
                begin_at_once,
            )
    except OSError as e:
        raise CloudError("%s: %s" % (e.filename or path, e.strerror or e)) from e


def publish_file(
    site: "Site",
    file: BinaryIO,
    name: str | Path,
    product: str,
    version: str,
    description: str = "",
    any_file: bool = False,
    enabled: bool = True,
    progress: Progress = lambda n: None,
    said: Terms | None = None,
    by_hand: bool = False,
    begin_at_once: bool = False,
) -> tuple[Row, bool]:
    """publish() for the open file `file` (`name` in messages).

    From a whole firmware file, only the application is published. OSError if the file can't be read or the site can't
    be written.
    """
    owner, rollout = _check_request(site, product, version, said)
    more = {
        "description": description,
        "enabled": enabled,
        "state": "awaiting" if by_hand else selection.ACTIVE,
        "waits_for_packed": not begin_at_once
        and site.database.read(packed.is_worth_waiting, owner, version, site.now_s()),
        **rollout,
    }
    inspection = Inspection(extract_application(file, name, any_file), name, owner["id"], version, any_file)
    with site.images.receive(inspection.chunks(progress)) as incoming:
        row = _row(site, owner, version, incoming.checksum, incoming.size)
        made, is_new = _store(
            site,
            incoming,
            {**row, **more, "manifest": inspection.manifest, "chip": inspection.chip, "head": inspection.head},
            owner,
        )
    if not _has_image(site, made["checksum"]):  # it was deleted with another release before the row was written
        with site.images.receive(inspection.chunks(lambda n: None)) as again:
            again.keep()
    retention.apply(site, owner["id"])
    return made, is_new


def _has_image(site: "Site", checksum: str) -> bool:
    try:
        site.images.open(checksum).close()
    except FileNotFoundError:
        return False
    return True


def dry_run(
    site: "Site",
    path: str | Path,
    product: str,
    version: str,
    description: str = "",
    any_file: bool = False,
    progress: Progress = lambda n: None,
    said: Terms | None = None,
) -> Row:
    """Forecast which devices would be offered the file: forecast.dry_run() plus `doubts`. Changes nothing."""
    try:
        with open(path, "rb") as file:
            return dry_run_file(site, file, path, product, version, description, any_file, progress, said)
    except OSError as e:
        raise CloudError("%s: %s" % (e.filename or path, e.strerror or e)) from e


def dry_run_file(
    site: "Site",
    file: BinaryIO,
    name: str | Path,
    product: str,
    version: str,
    description: str = "",
    any_file: bool = False,
    progress: Progress = lambda n: None,
    said: Terms | None = None,
) -> Row:
    """dry_run() for the open file `file` (`name` in messages)."""
    owner, rollout = _check_request(site, product, version, said)
    sha256, size = hashlib.sha256(), 0
    inspection = Inspection(extract_application(file, name, any_file), name, owner["id"], version, any_file)
    for chunk in inspection.chunks(progress):
        sha256.update(chunk)
        size += len(chunk)
    row = _row(site, owner, version, sha256.hexdigest(), size)
    site.database.read(_published, row, owner)
    row.update(
        description=description,
        enabled=True,
        state=selection.ACTIVE,
        manifest=inspection.manifest,
        chip=inspection.chip,
    )
    row.update(head=inspection.head, **rollout)
    return {**forecast.dry_run(site, row), "doubts": _doubts(site, row)}


def dry_run_slice(
    site: "Site", product: str, version: str, said: Terms | None, so_far: Row | None, most: int | None
) -> Row:
    """forecast.dry_run_slice() for a release without its image, plus `doubts`.

    `so_far`: the result of the previous call; None: begin with the first device.
    """
    owner, rollout = _check_request(site, product, version, said)
    row = _row(site, owner, version, "", 0)
    if there := site.database.read(queries.release_by_version, owner["id"], row["precedence"]):
        raise Conflict("%s %s is already published: choose another version" % (owner["name"], there["version"]))
    row.update(description="", enabled=True, state=selection.ACTIVE, manifest=None, chip=None, head=None, **rollout)
    return {**forecast.dry_run_slice(site, row, so_far, most), "doubts": _doubts(site, row)}


def _doubts(site: "Site", row: Row) -> list[str]:
    return term_warnings.of_update(
        site, {"product": row["product"], "size": row["size"], "terms": terms.format_terms(row)}
    )


def _check_request(site: "Site", product: str, version: str, said: Terms | None) -> tuple[Row, Row]:
    """(the product's row, the terms of the rollout). CloudError if anything in the request is invalid."""
    owner = product_of(site, product)
    if not selection.is_version(version):
        raise CloudError("version %s: %s" % (version[:80], selection.VERSION_WANTED))
    now_s = site.now_s()
    rollout = terms.parse_terms(said or {}, now_s=now_s)
    return owner, {**rollout, **stages.place(rollout, said or {}, None, {}, now_s)}


def product_of(site: "Site", word: str) -> Row:
    """The product's row by name or id. Raises Missing if there is none."""
    return site.database.read(_product_of, word)


def _product_of(conn: sa.Connection, word: str) -> Row:
    found = queries.product_by_id_or_name(conn, word)
    if found is None:
        names = [each["name"] for each in queries.all_products(conn)]
        known = "known products: %s" % ", ".join(names) if names else "there are no products yet"
        raise Missing("product %s: not found; %s; create it with `ioto product new %s`" % (word, known, word))
    return found


def _row(site: "Site", product: Row, version: str, checksum: str, size: int) -> Row:
    """The columns of a release that follow from the file, its product and its version."""
    return {
        "id": _update_id(product["id"], version, checksum),
        "product": product["id"],
        "version": version,
        "precedence": selection.precedence(version),
        "checksum": checksum,
        "size": size,
        "created_s": site.now_s(),
        "taken": 0,
        "counts": "{}",
    }


def _store(site: "Site", incoming: Incoming, release: Row, product: Row) -> tuple[Row, bool]:
    site.database.read(_published, release, product)
    incoming.keep()  # even if the release exists: this restores a lost file
    there = site.database.write(_insert, release, product, site.who)
    return there or release, not there


def _insert(conn: sa.Connection, release: Row, product: Row, who: str) -> Row | None:
    there = _published(conn, release, product)  # another publisher may have been faster
    if not there:
        queries.add_release(conn, release)
        change_log.note(conn, release["created_s"])
        detail = {"product": product["id"], "version": release["version"]}
        audit.note(conn, release["created_s"], who, "release.published", release["id"], **detail)
    return there


def _published(conn: sa.Connection, release: Row, product: Row) -> Row | None:
    """The release of this version, or None.

    Raises Conflict if it has other content or other build metadata, or is cancelled or archived; Unavailable if its
    image is being deleted.
    """
    image_deletion.check(conn, release["checksum"], release["created_s"])
    there = queries.release_by_version(conn, product["id"], release["precedence"])
    if there:
        lifecycle.check_open(conn, there)
    if there and (there["checksum"] != release["checksum"] or there["version"] != release["version"]):
        raise Conflict(
            "%s %s: version %s is published with other content (SHA-256 %s...): a version never changes, choose a "
            "higher one" % (product["name"], release["version"], there["version"], there["checksum"][:12])
        )
    return there


def _update_id(product: str, version: str, checksum: str) -> str:
    """26 characters, derived from the update: the same update has the same id on every site."""
    digest = hashlib.sha256("\n".join((product, version, checksum)).encode()).digest()
    return base64.b32encode(digest).decode()[:26]


def new_product(site: "Site", name: str, id: str | None = None, by_hand: bool = False) -> Row:
    """Create a product; return its row.

    `id`: the id in ioto.json of every board; random unless given. `by_hand`: its devices get no token until an operator
    claims them.
    """
    for what, text in (("name", name), ("id", id)):
        if text is not None and not re.fullmatch("[!-~]{1,64}", text):
            raise CloudError("product %s %r: expected: 1 to 64 ASCII characters without a space" % (what, text))
    id = id or base64.b32encode(site.random_bytes(16)).decode()[:26]
    return site.database.write(_add_product, id, name, by_hand, site.now_s(), site.who)


def _add_product(conn: sa.Connection, id: str, name: str, by_hand: bool, now_s: int, who: str) -> Row:
    # A word that is both a name and an id would be ambiguous.
    if queries.product_by_id_or_name(conn, name) or queries.product_by_id_or_name(conn, id):
        raise Conflict("product %s: this name or id is in use: see `ioto product list`" % name)
    found = queries.add_product(conn, id, name, now_s, by_hand)
    change_log.note(conn, now_s)
    audit.note(conn, now_s, who, "product.new", id, name=name)
    return found
