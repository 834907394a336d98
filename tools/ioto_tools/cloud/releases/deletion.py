"""Deletes releases that no device uses, with their images, and products without devices and releases.

The audit log is kept.
"""

from typing import TYPE_CHECKING

import sqlalchemy as sa

from ..http.errors import Conflict
from ..operators import overview
from ..rollout import leases
from ..rules import update_states
from ..storage import audit, change_log, counters
from ..storage.tables import Row, devices, grants, products, releases, reports, samples, tokens
from ..storage.tables import leases as lease_rows

if TYPE_CHECKING:
    from ..site.site import Site


def delete_release(site: "Site", word: str) -> Row:
    """Delete the update `word` (its id, or PRODUCT@VERSION), its history and its image.

    Returns {update, product, version, image}; `image`: True if the image was deleted, False if another release has the
    same image. Conflict, without any change, if a device runs the version, or was offered it and has not finished.
    Unavailable if the image can't be deleted; the release is deleted nevertheless, and nothing uses its image.
    """
    row, is_last = site.database.write(_delete_release, word, site.now_s(), site.who)
    if is_last:
        site.images.delete(row["checksum"])
    return {"update": row["id"], "product": row["product_name"], "version": row["version"], "image": is_last}


def _delete_release(conn: sa.Connection, word: str, now_s: int, who: str) -> tuple[Row, bool]:
    row = dict(leases.locked(conn, overview.find_release(conn, word)["id"]))
    row["product_name"] = overview.find_product(conn, row["product"])["name"]
    present = devices.c.removed_s.is_(None)
    runs = _count(
        conn,
        sa.select(devices).where(devices.c.product == row["product"], present, devices.c.version == row["version"]),
    )
    held = grants.c.release == row["id"], grants.c.state.in_(update_states.OPEN)
    offered = _count(conn, sa.select(grants).join(devices, devices.c.key == grants.c.device).where(*held, present))
    if runs or offered:
        raise Conflict(
            "%s %s is in use: %d devices run it, %d were offered it and have not finished: a release can be deleted "
            "when no device uses it; `ioto updates disable` or `cancel` stops its offers"
            % (row["product_name"], row["version"], runs, offered)
        )
    for table in (reports, grants, lease_rows, samples):
        conn.execute(table.delete().where(table.c.release == row["id"]))
    conn.execute(releases.delete().where(releases.c.id == row["id"]))
    counters.remove(conn, "release " + row["id"])
    change_log.note(conn, now_s)
    detail = {"product": row["product"], "version": row["version"], "checksum": row["checksum"]}
    audit.note(conn, now_s, who, "release.deleted", row["id"], **detail)
    return row, not _count(conn, sa.select(releases).where(releases.c.checksum == row["checksum"]))


def delete_product(site: "Site", word: str) -> Row:
    """Delete the product `word` (its name or id); returns {id, name}. Conflict if it has devices or releases."""
    return site.database.write(_delete_product, word, site.now_s(), site.who)


def _delete_product(conn: sa.Connection, word: str, now_s: int, who: str) -> Row:
    found = overview.find_product(conn, word)
    of_product = devices.c.product == found["id"]
    there = _count(conn, sa.select(devices).where(of_product, devices.c.removed_s.is_(None)))
    published = _count(conn, sa.select(releases).where(releases.c.product == found["id"]))
    if there or published:
        raise Conflict(
            "product %s has %d devices and %d releases: remove the devices (`ioto device remove`) and delete the "
            "releases (`ioto updates delete`) first" % (found["name"], there, published)
        )
    removed = sa.select(devices.c.key).where(of_product)
    conn.execute(tokens.delete().where(tokens.c.device.in_(removed)))
    conn.execute(devices.delete().where(of_product))
    conn.execute(products.delete().where(products.c.id == found["id"]))
    change_log.note(conn, now_s)
    audit.note(conn, now_s, who, "product.deleted", found["id"], name=found["name"])
    return {"id": found["id"], "name": found["name"]}


def _count(conn: sa.Connection, rows: sa.Select[tuple[int]]) -> int:
    return conn.execute(sa.select(sa.func.count()).select_from(rows.subquery())).scalar() or 0
