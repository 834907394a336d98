"""Deletes old data, an hour's worth per transaction, so that no device waits for it. Runs in every worker; running
twice is harmless.
"""

import asyncio
import logging
import shutil

import sqlalchemy as sa

from ..http.errors import Unavailable
from ..storage import changes
from ..storage.tables import audit, deliveries, devices, grants, releases, reports, tokens

EVERY_S = 3600
_AT_ONCE_S = 3600  # time range of the rows in one transaction
_AT_ONCE = 500  # devices
REPORTS_S = 400 * 24 * 3600
REMOVED_S = (
    90 * 24 * 3600
)  # then a removed device without any offer is deleted; others are kept for the releases' counts
AUDIT_S = 2 * 365 * 24 * 3600
FREE_BYTES = 256 * 1024 * 1024  # on the site's disk; with less, a warning is logged
_log = logging.getLogger("ioto.cloud")


async def run(site, database) -> None:
    """Run forever. `database(function, *arguments)` waits for the site's database."""
    try:
        await database(look_at_images, site)
    except (OSError, Unavailable) as e:
        _log.error("images: %s", e)
    while True:
        try:
            while await database(site.database.write, forget, site.now_s()):
                await asyncio.sleep(0)
            await database(site.database.tidy)
            await database(look_at_disk, site.data)
        except (OSError, Unavailable) as e:  # again in an hour
            _log.error("housekeeping: %s", e)
        await asyncio.sleep(EVERY_S)


def look_at_images(site) -> None:
    """Log each release that is not cancelled and whose image is missing or has a wrong size: a proxy in front may still
    serve it.
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


def _not_cancelled(conn):
    found = sa.select(releases.c.product, releases.c.version, releases.c.checksum, releases.c.size).where(
        releases.c.state != "cancelled"
    )
    return [dict(row) for row in conn.execute(found).mappings()]


def look_at_disk(data) -> None:
    """Log a warning if the site's disk is nearly full."""
    free = shutil.disk_usage(data).free
    if free < FREE_BYTES:
        _log.warning(
            "%s: only %d MiB are free on its disk: make room, or nothing can be published or recorded", data, free >> 20
        )


def forget(conn, now_s):
    """Delete some old reports, changes, and audit rows that no webhook waits for. False: there are no more."""
    changes.forget(conn, now_s)
    waiting = audit.c.id.in_(sa.select(deliveries.c.event))
    more = _oldest(conn, reports, reports.c.received_s, now_s - REPORTS_S)
    more = _removed(conn, now_s - REMOVED_S) or more
    return _oldest(conn, audit, audit.c.at_s, now_s - AUDIT_S, sa.not_(waiting)) or more


def _removed(conn, before_s):
    """Delete at most _AT_ONCE devices that were removed before `before_s`; were there any?"""
    old = sa.and_(
        devices.c.removed_s < before_s,
        devices.c.key.not_in(sa.select(grants.c.device)),
        devices.c.key.not_in(sa.select(reports.c.device)),
    )
    found = [row.key for row in conn.execute(sa.select(devices.c.key).where(old).limit(_AT_ONCE))]
    conn.execute(tokens.delete().where(tokens.c.device.in_(found)))
    conn.execute(devices.delete().where(devices.c.key.in_(found)))
    return bool(found)


def _oldest(conn, table, column, before_s, *which) -> bool:
    """Delete the rows of the oldest hour that are older than `before_s`; were there any?"""
    first_s = conn.execute(sa.select(sa.func.min(column)).where(column < before_s, *which)).scalar()
    if first_s is None:
        return False
    conn.execute(table.delete().where(column < min(before_s, first_s + _AT_ONCE_S), *which))
    return True
