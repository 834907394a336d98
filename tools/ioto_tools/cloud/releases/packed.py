"""Packed files of releases: whether a publication waits for them, and their deletion. packing/ makes them."""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ..http.errors import CloudError
from ..operators import overview
from ..rollout import leases
from ..rules import stages
from ..rules.packed_files import accepts_packed
from ..rules.selection import ACTIVE, PACKING_S, sort_newest_first
from ..storage import audit, change_log
from ..storage.tables import AnyRow, Row, devices, packed_files, packers, products, releases
from . import image_deletion

if TYPE_CHECKING:
    from ..site.site import Site

RELEASES = 3  # the newest releases of a product that have packed files
_EXAMINED = 2000  # devices
MOST_BASES = 20  # deltas of a release that a product can be set to have


def parse_packed_bases(text: str) -> int | None:
    """The number of deltas of each release in `text`; None for `none`. CloudError if it is invalid."""
    if text.strip() == "none":
        return None
    if not (text.isascii() and text.isdigit() and int(text[:9]) <= MOST_BASES):
        raise CloudError("packed bases: %s: expected: a number from 0 to %d, or none" % (text[:40], MOST_BASES))
    return int(text)


def set_packed_bases(site: "Site", word: str, n: int | None) -> Row:
    """Let each new release of the product have deltas from at most `n` images; None: no packed files.

    Files that exist are added or deleted within an hour, or with the next release. Return {id, name, packed_bases}.
    """
    return site.database.write(_set_packed_bases, word, n, site.now_s(), site.who)


def _set_packed_bases(conn: sa.Connection, word: str, n: int | None, now_s: int, who: str) -> Row:
    found = overview.find_product(conn, word)
    if found["packed_bases"] != n:
        conn.execute(products.update().where(products.c.id == found["id"]).values(packed_bases=n))
        audit.note(conn, now_s, who, "product.set", found["id"], name=found["name"], packed_bases=n)
        change_log.note(conn, now_s)
    return {"id": found["id"], "name": found["name"], "packed_bases": n}


def newest(rows: Iterable[AnyRow]) -> list[Row]:
    """Those of the product's releases `rows` that have packed files, highest version first."""
    return sort_newest_first([dict(row) for row in rows if row["state"] != "cancelled"])[:RELEASES]


def is_worth_waiting(conn: sa.Connection, product: Row, version: str, now_s: int) -> bool:
    """Is the new release `version` of the product to wait for its packed files?

    Yes if it will have some, a server makes them, and a device of the product accepts them.
    """
    running = packers.c.until_s > now_s, packers.c.until_s < now_s + PACKING_S  # a later time is from a wrong clock
    if product["packed_bases"] is None or not conn.execute(sa.select(packers.c.server).where(*running)).first():
        return False
    found = sa.select(releases.c.version, releases.c.state).where(releases.c.product == product["id"])
    this = {"version": version, "state": ACTIVE}
    return this in newest([*conn.execute(found).mappings(), this]) and is_accepted(conn, product["id"])


def is_accepted(conn: sa.Connection, product: str) -> bool:
    """Does one of the product's newest devices accept packed files?

    Older ones count when files are planned anew: to look at all of them would take too long.
    """
    columns = devices.c.properties, devices.c.removed_s
    here = sa.select(*columns).where(devices.c.product == product).order_by(devices.c.first_s.desc())
    some = here.limit(_EXAMINED).subquery()
    able = sa.select(some.c.properties).where(some.c.removed_s.is_(None), some.c.properties.contains('"packed"'))
    return any(accepts_packed(json.loads(text)) for text in conn.execute(able).scalars())


def end_wait(conn: sa.Connection, release: str, now_s: int) -> None:
    """Let the release be offered, unless one of its packed files still waits to be made.

    The time of its first stage begins now, or has begun when it was offered without them.
    """
    waiting = sa.select(packed_files.c.base).where(packed_files.c.release == release, packed_files.c.state == "waiting")
    row = leases.locked(conn, release)
    if row is not None and row["waits_for_packed"] and not conn.execute(waiting.limit(1)).first():
        values: Row = {"waits_for_packed": False}
        if row["stages"] is not None:
            values["stage_s"] = min(now_s, stages.began_s(row))
        conn.execute(releases.update().where(releases.c.id == release).values(values))
    change_log.note(conn, now_s)


def drop(conn: sa.Connection, release: str, now_s: int, *which: sa.ColumnElement[bool]) -> list[str]:
    """Delete the release's packed files, or those of them with `which`.

    Return the checksums of the files to be deleted with image_deletion.finish().
    """
    of_release = packed_files.c.release == release, *which
    found = conn.execute(sa.select(packed_files.c.checksum).where(*of_release)).scalars().all()
    if not conn.execute(packed_files.delete().where(*of_release)).rowcount:
        return []
    change_log.note(conn, now_s)
    return [checksum for checksum in set(found) if checksum and image_deletion.begin(conn, checksum, now_s)]
