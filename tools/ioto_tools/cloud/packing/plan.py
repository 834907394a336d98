"""Plans packed files: of the newest releases, a compressed file, and deltas from the images that most devices run."""

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ..http.errors import CloudError, Unavailable
from ..operators import overview
from ..releases import image_deletion, packed
from ..releases.packed import RELEASES
from ..rollout import catalogue
from ..rules import selection
from ..rules.packed_files import COMPRESSED, accepts_packed, delta_base
from ..rules.update_states import OPEN
from ..storage import queries
from ..storage.tables import AnyRow, Row, devices, grants, packed_files, products, releases

if TYPE_CHECKING:
    from ..site.site import Site

MOST_BYTES = 16 << 20  # of an image: a larger one is not packed, because this would take gigabytes of memory
_AT_ONCE = 1000  # maximum number of devices read in one transaction
# {SHA-256 of an image: devices that accept a delta from it; COMPRESSED: that accept packed files}
Counts = Counter[str]


def is_due(conn: sa.Connection) -> bool:
    """Has a release no plan yet?"""
    return any(_due(conn))


def apply_all(site: "Site") -> None:
    """Plan the packed files of all products, and delete those that are no longer wanted."""
    _apply(site, [id for id, packed_bases in site.database.read(_products) if packed_bases is not None])


def apply_due(site: "Site") -> None:
    """apply_all(), but plan only for products with a release that has no plan yet."""
    _apply(site, site.database.read(lambda conn: list(_due(conn))))


def _apply(site: "Site", wanted: list[str]) -> None:
    for product in wanted:
        newest = site.database.read(_newest, product)
        counts = count_images(site, product) if newest else Counter()
        if counts[COMPRESSED]:
            for row in newest:
                _finish(site, site.database.write(_plan, row["id"], counts, site.now_s()))
    for product, _ in site.database.read(_products):
        _finish(site, site.database.write(_drop_others, product, site.now_s()))


def apply(site: "Site", word: str) -> Row:
    """Plan the packed files of the update `word` (its id, or PRODUCT@VERSION); failed and lost ones are made again.

    Return the release's row. CloudError if it is too old for packed files, or its product has none.
    """
    release = site.database.read(overview.find_release, word)
    product = site.database.read(queries.product_by_id, release["product"])
    newest = site.database.read(_newest, release["product"])
    if product is None or product["packed_bases"] is None or release["id"] not in [row["id"] for row in newest]:
        raise CloudError(
            "%s: no packed files are made of it: only of the %d newest releases of a product that are not cancelled, "
            "and only if the product's setting --packed-bases is not none" % (release["version"], RELEASES)
        )
    restore_lost(site)
    failed = packed_files.c.state == "failed"
    _finish(site, site.database.write(packed.drop, release["id"], site.now_s(), failed))
    counts = count_images(site, release["product"])
    _finish(site, site.database.write(_plan, release["id"], counts, site.now_s()))
    return release


def count_images(site: "Site", product: str) -> Counts:
    """Count the devices of the product that accept packed files, and those that accept a delta, by their image."""
    counts: Counts = Counter()
    after = ""
    while rows := site.database.read(_devices, product, after):
        after = rows[-1][0]
        for _, text in rows:
            sent = json.loads(text)
            counts[COMPRESSED] += accepts_packed(sent)
            if base := delta_base(sent):
                counts[base] += 1
    return counts


def _devices(conn: sa.Connection, product: str, after: str) -> list[tuple[str, str]]:
    """(id, properties) of the next devices after the id `after` that may accept packed files, in order."""
    able = devices.c.product == product, devices.c.removed_s.is_(None), devices.c.properties.contains('"packed"')
    found = sa.select(devices.c.id, devices.c.properties).where(*able, devices.c.id > after)  # ix_devices_product
    return [tuple(row) for row in conn.execute(found.order_by(devices.c.id).limit(_AT_ONCE))]


def _products(conn: sa.Connection) -> list[tuple[str, int | None]]:
    """(id, packed_bases) of all products."""
    return [tuple(row) for row in conn.execute(sa.select(products.c.id, products.c.packed_bases))]


def _due(conn: sa.Connection) -> Iterator[str]:
    """The products with devices that accept packed files, and with a release that has no plan yet."""
    files = packed_files.c
    planned = sa.and_(files.release == releases.c.id, files.base == COMPRESSED)
    columns = releases.c.product, releases.c.version, releases.c.state, files.release.label("planned")
    found = sa.select(*columns).join(products, products.c.id == releases.c.product).outerjoin(packed_files, planned)
    found = found.where(products.c.packed_bases.is_not(None), releases.c.state != "cancelled")
    rows = conn.execute(found.order_by(releases.c.product)).mappings()
    for product, of_product in itertools.groupby(rows.all(), key=lambda row: row["product"]):
        unplanned = any(row["planned"] is None for row in packed.newest(of_product))
        if unplanned and packed.is_accepted(conn, product):
            yield product


def _newest(conn: sa.Connection, product: str) -> list[Row]:
    return packed.newest(queries.releases_of(conn, product))


def _plan(conn: sa.Connection, release: str, counts: Counts, now_s: int) -> list[str]:
    """Plan the release's files; return the checksums of the files to be deleted."""
    row = queries.release(conn, release)
    if row is None or row["state"] == "cancelled":  # meanwhile
        return []
    product = queries.product_by_id(conn, row["product"])
    bases = {COMPRESSED: counts[COMPRESSED], **_bases(conn, row, counts, (product or {}).get("packed_bases") or 0)}
    there = set(conn.execute(sa.select(packed_files.c.base).where(packed_files.c.release == release)).scalars())
    for base in bases.keys() - there:
        conn.execute(packed_files.insert().values(release=release, base=base, devices=bases[base], **_state(row)))
    dropped = packed.drop(conn, release, now_s, packed_files.c.base.not_in(bases), _unused(release))
    if bases.keys() - there or row["waits_for_packed"]:
        packed.end_wait(conn, release, now_s)
    return dropped


def _bases(conn: sa.Connection, release: Row, counts: Counts, most: int) -> dict[str, int]:
    """{image: number of its devices} of the lower releases that most devices run, at most `most`."""
    order = selection.sort_newest_first(queries.releases_of(conn, release["product"]))
    versions = [row["id"] for row in order]
    lower = order[versions.index(release["id"]) + 1 :]
    images = {
        catalogue.image_checksum(row)
        for row in lower
        if row["archived_s"] is None and row["size"] <= MOST_BYTES
    }  # fmt: skip
    images.discard(catalogue.image_checksum(release))
    if release["size"] > MOST_BYTES:
        return {}
    ranked = sorted(((counts[image], image) for image in images if counts[image]), reverse=True)
    return {image: n for n, image in itertools.islice(ranked, most)}


def _state(release: AnyRow) -> Row:
    if release["size"] <= MOST_BYTES:
        return {"state": "waiting", "reason": ""}
    reason = "%d bytes: an image of more than %d is not packed" % (release["size"], MOST_BYTES)
    return {"state": "failed", "reason": reason}


def _unused(release: str) -> sa.ColumnElement[bool]:
    """No device is downloading the packed file of the release."""
    using = sa.select(grants.c.file).where(
        grants.c.release == release, grants.c.state.in_(OPEN), grants.c.file.is_not(None)
    )
    return packed_files.c.base.not_in(using)


def _drop_others(conn: sa.Connection, product: str, now_s: int) -> list[str]:
    """Delete the packed files of the product's releases that have none any more; return the files to be deleted."""
    owner = queries.product_by_id(conn, product)
    kept = [row["id"] for row in _newest(conn, product)] if owner and owner["packed_bases"] is not None else []
    found = []
    for row in queries.releases_of(conn, product):
        if row["id"] not in kept:
            found += packed.drop(conn, row["id"], now_s, _unused(row["id"]))
            if row["waits_for_packed"]:
                packed.end_wait(conn, row["id"], now_s)
    return found


def _finish(site: "Site", checksums: list[str]) -> None:
    for checksum in checksums:
        try:
            image_deletion.finish(site, checksum)
        except Unavailable:  # housekeeping completes the deletion
            pass


def restore_lost(site: "Site") -> None:
    """Let the packed files be made again that are missing in the store, or truncated."""
    for release, checksum, size in site.database.read(_made):
        try:
            with site.images.open(checksum) as file:
                is_whole = file.size == size
        except FileNotFoundError:
            is_whole = False
        if not is_whole:
            site.database.write(queries.make_again, release, checksum, site.now_s())


def _made(conn: sa.Connection) -> list[tuple[str, str, int]]:
    files = packed_files.c
    found = sa.select(files.release, files.checksum, files.size).where(files.state == "made")
    return [tuple(row) for row in conn.execute(found)]
