"""Deletes releases that no device uses and products without devices and releases; archives other releases.

A deleted release loses its history and its image; an archived one only its image, and is never offered again. The audit
log is kept.
"""

from typing import TYPE_CHECKING

import sqlalchemy as sa

from ..http.errors import Conflict
from ..operators import overview
from ..rollout import failures, leases, lifecycle
from ..storage import audit, change_log, counters
from ..storage.tables import (
    Row,
    devices,
    fleet_samples,
    grants,
    products,
    releases,
    reports,
    samples,
    signing_keys,
    tokens,
)
from ..storage.tables import leases as lease_rows
from . import image_deletion, packed, usage

if TYPE_CHECKING:
    from ..site.site import Site


def delete_release(site: "Site", word: str) -> Row:
    """Delete the update `word` (its id, or PRODUCT@VERSION), its history and its image.

    Returns {update, product, version, image}; `image`: True if the image was deleted, False if another release has the
    same image. Conflict, without any change, if a device uses it (usage.py). Unavailable if the image can't be deleted
    now: the release is deleted nevertheless, and housekeeping deletes the image.
    """
    return _without_image(site, *site.database.write(_delete_release, word, site.now_s(), site.who))


def _delete_release(conn: sa.Connection, word: str, now_s: int, who: str) -> tuple[Row, list[str]]:
    row = _locked(conn, word)
    if used := usage.of_release(conn, row):
        raise Conflict(
            "%s %s is in use: %s: a release can be deleted when no device uses it; `ioto updates archive` hides it and "
            "deletes its image" % (row["product_name"], row["version"], used)
        )
    for table in (reports, grants, lease_rows, samples):
        conn.execute(table.delete().where(table.c.release == row["id"]))
    failures.delete_of_release(conn, row["id"])
    files = packed.drop(conn, row["id"], now_s)
    conn.execute(releases.delete().where(releases.c.id == row["id"]))
    counters.remove(conn, "release " + row["id"])
    change_log.note(conn, now_s)
    detail = {"product": row["product"], "version": row["version"], "checksum": row["checksum"]}
    audit.note(conn, now_s, who, "release.deleted", row["id"], **detail)
    return row, _with_image(conn, row, files, now_s)


def archive_release(site: "Site", word: str) -> Row:
    """Archive the update `word`: cancel it permanently, hide it from lists, and delete its image.

    Returns the same as delete_release(). Devices that have not applied it yet drop it as after a cancellation.
    """
    return _without_image(site, *site.database.write(_archive_release, word, site.now_s(), site.who))


def _archive_release(conn: sa.Connection, word: str, now_s: int, who: str) -> tuple[Row, list[str]]:
    row = _locked(conn, word)
    if row["archived_s"] is not None:
        raise Conflict("%s %s is archived already" % (row["product_name"], row["version"]))
    return row, archive(conn, row, now_s, who)


def archive(conn: sa.Connection, row: Row, now_s: int, who: str, **detail: object) -> list[str]:
    """Archive the release `row` (locked); return which of its files are to be deleted (image_deletion.finish())."""
    values = {"state": "cancelled", "archived_s": now_s}
    lifecycle.change(conn, row, values, "archived", now_s, who, checksum=row["checksum"], **detail)
    return _with_image(conn, row, packed.drop(conn, row["id"], now_s), now_s)


def _with_image(conn: sa.Connection, row: Row, files: list[str], now_s: int) -> list[str]:
    """`files`, and the release's image, unless another release has it too."""
    return [row["checksum"], *files] if image_deletion.begin(conn, row["checksum"], now_s) else files


def _without_image(site: "Site", row: Row, files: list[str]) -> Row:
    for checksum in files:
        image_deletion.finish(site, checksum)
    is_last = row["checksum"] in files
    return {"update": row["id"], "product": row["product_name"], "version": row["version"], "image": is_last}


def _locked(conn: sa.Connection, word: str) -> Row:
    """The release's row, locked, with its `product_name`."""
    row = dict(leases.locked(conn, overview.find_release(conn, word)["id"]))
    return {**row, "product_name": overview.find_product(conn, row["product"])["name"]}


def release_usage(site: "Site", word: str) -> usage.Usage:
    """The devices that use the update `word`. It reads each device of the product."""
    return site.database.read(_release_usage, word)


def _release_usage(conn: sa.Connection, word: str) -> usage.Usage:
    return usage.of_release(conn, overview.find_release(conn, word))


# ---- products


def delete_product(site: "Site", word: str) -> Row:
    """Delete the product `word` (its name or id); returns {id, name}. Conflict if it has devices or releases."""
    return site.database.write(_delete_product, word, site.now_s(), site.who)


def _delete_product(conn: sa.Connection, word: str, now_s: int, who: str) -> Row:
    found = overview.find_product(conn, word)
    if obstacle := _product_obstacle(conn, found):
        raise Conflict(obstacle)
    of_product = devices.c.product == found["id"]
    removed = sa.select(devices.c.key).where(of_product)
    conn.execute(tokens.delete().where(tokens.c.device.in_(removed)))
    failures.delete_of_devices(conn, removed)
    conn.execute(devices.delete().where(of_product))
    conn.execute(fleet_samples.delete().where(fleet_samples.c.product == found["id"]))
    conn.execute(signing_keys.delete().where(signing_keys.c.product == found["id"]))
    conn.execute(products.delete().where(products.c.id == found["id"]))
    change_log.note(conn, now_s)
    audit.note(conn, now_s, who, "product.deleted", found["id"], name=found["name"])
    return {"id": found["id"], "name": found["name"]}


def product_settings(site: "Site", word: str) -> Row:
    """{product, obstacle}: the product's row, and why it can't be deleted, None if it can."""
    return site.database.read(_product_settings, word)


def _product_settings(conn: sa.Connection, word: str) -> Row:
    found = overview.find_product(conn, word)
    return {"product": found, "obstacle": _product_obstacle(conn, found)}


def _product_obstacle(conn: sa.Connection, product: Row) -> str | None:
    of_product = releases.c.product == product["id"]
    there = _count(conn, devices.c.product == product["id"], devices.c.removed_s.is_(None))
    published = _count(conn, of_product, releases.c.archived_s.is_(None))
    archived = _count(conn, of_product, releases.c.archived_s.is_not(None))
    counted = [
        "%d %s%s" % (n, noun, "" if n == 1 else "s")
        for n, noun in ((there, "device"), (published, "release"), (archived, "archived release"))
        if n
    ]
    if not counted:
        return None
    return (
        "product %s has %s: remove the devices (`ioto device remove`) and delete the releases (`ioto updates "
        "delete`; `ioto updates --archived` lists the archived ones too) first"
        % (product["name"], " and ".join([", ".join(counted[:-1])] * bool(counted[:-1]) + counted[-1:]))
    )


def _count(conn: sa.Connection, *which: sa.ColumnElement[bool]) -> int:
    return conn.execute(sa.select(sa.func.count()).where(*which)).scalar_one()
