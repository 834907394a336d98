"""Deletes old data and surplus images, at most one hour of it in each transaction, so that devices wait only briefly.

Runs in every worker; several may run at the same time.
"""

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ..http.errors import Unavailable
from ..releases import image_deletion, retention
from ..rollout import failures
from ..storage import change_log
from ..storage.tables import Row, audit, deliveries, devices, grants, releases, reports, tokens
from ..storage.tables import failures as failure_rows
from .site import Site

EVERY_S = 3600
_AT_ONCE_S = 3600  # time range of the rows deleted in one transaction
_AT_ONCE = 500  # maximum number of devices deleted in one transaction
# For how long old data is kept.
REPORTS_S = 400 * 24 * 3600  # and failures
REMOVED_S = 90 * 24 * 3600  # removed devices without offers and reports; others are kept for the releases' counts
AUDIT_S = 2 * 365 * 24 * 3600
FREE_BYTES = 256 * 1024 * 1024  # on the site's disk; with less, a warning is logged
_log = logging.getLogger("ioto.cloud")


async def run(site: Site, database: Callable[..., Awaitable[Any]]) -> None:
    """Run forever. `database(function, *arguments)` awaits the result of a function that uses the database."""
    try:
        await database(check_images, site)
    except (OSError, Unavailable) as e:
        _log.error("images: %s", e)
    while True:
        try:
            while await database(site.database.write, delete_old_data, site.now_s()):
                await asyncio.sleep(0)
            await database(image_deletion.complete_all, site)
            await database(retention.apply_all, site)
            await database(site.database.run_maintenance)
            await database(check_free_space, site.data)
        except (OSError, Unavailable) as e:  # again in an hour
            _log.error("housekeeping: %s", e)
        await asyncio.sleep(EVERY_S)


def check_images(site: Site) -> None:
    """Log each release that is not cancelled and whose image is missing or has the wrong size.

    A reverse proxy may still serve such an image.
    """
    for release in site.database.read(_not_cancelled):
        try:
            with site.images.open(release["checksum"]) as image:
                size = image.size
        except FileNotFoundError:
            size = 0
        if size != release["size"]:
            wrong = release["product"], release["version"], size, release["size"]
            _log.error(
                "the image of %s %s has %d bytes, not %d: publish the same file again, or cancel the release", *wrong
            )


def _not_cancelled(conn: sa.Connection) -> list[Row]:
    found = sa.select(releases.c.product, releases.c.version, releases.c.checksum, releases.c.size)
    return [dict(row) for row in conn.execute(found.where(releases.c.state != "cancelled")).mappings()]


def check_free_space(data: Path) -> None:
    """Log a warning if the site's disk is nearly full."""
    free = shutil.disk_usage(data).free
    if free < FREE_BYTES:
        _log.warning(
            "%s: only %d MiB are free on its disk: free some space, or nothing more can be published or stored",
            data,
            free >> 20,
        )


def delete_old_data(conn: sa.Connection, now_s: int) -> bool:
    """Delete some old data; return whether there may be more. Audit rows that wait for delivery are kept."""
    change_log.forget(conn, now_s)
    waiting = audit.c.id.in_(sa.select(deliveries.c.event))
    more = _delete_oldest(conn, reports, reports.c.received_s, now_s - REPORTS_S)
    more = _delete_oldest(conn, failure_rows, failure_rows.c.at_s, now_s - REPORTS_S) or more
    more = _delete_removed_devices(conn, now_s - REMOVED_S) or more
    return _delete_oldest(conn, audit, audit.c.at_s, now_s - AUDIT_S, sa.not_(waiting)) or more


def _delete_removed_devices(conn: sa.Connection, before_s: int) -> bool:
    """Delete at most _AT_ONCE devices that were removed before `before_s`; return whether there were any."""
    old = sa.and_(
        devices.c.removed_s < before_s,
        devices.c.key.not_in(sa.select(grants.c.device)),
        devices.c.key.not_in(sa.select(reports.c.device)),
    )
    found = [row.key for row in conn.execute(sa.select(devices.c.key).where(old).limit(_AT_ONCE))]
    conn.execute(tokens.delete().where(tokens.c.device.in_(found)))
    failures.delete_of_devices(conn, found)
    conn.execute(devices.delete().where(devices.c.key.in_(found)))
    return bool(found)


def _delete_oldest(
    conn: sa.Connection, table: sa.Table, column: sa.Column[int], before_s: int, *which: sa.ColumnElement[bool]
) -> bool:
    """Delete the rows of the oldest hour that are older than `before_s`; return whether there were any."""
    first_s = conn.execute(sa.select(sa.func.min(column)).where(column < before_s, *which)).scalar()
    if first_s is None:
        return False
    conn.execute(table.delete().where(column < min(before_s, first_s + _AT_ONCE_S), *which))
    return True
