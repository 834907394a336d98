"""The numbers of each product's devices, now and over time: by version, checked in, updated, silent, not claimed.

A worker takes a sample of each product every EVERY_S; it replaces the earlier sample of the same hour. Samples older
than HOURLY_S are thinned to one a day; after KEPT_S they are deleted.

Counting reads all devices, so only a small fleet is counted for each view of the numbers. Of a fleet with more than
MOST_COUNTED devices, the newest sample is shown.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ..http.errors import Unavailable
from ..storage import queries
from ..storage.tables import Row, devices, fleet_samples, grants, products, releases

if TYPE_CHECKING:
    from ..site.site import Site

DAY_S = 24 * 3600
LOOK_S = 60  # how often a worker checks whether a sample is due
EVERY_S = 300
HOURLY_S = 7 * DAY_S
KEPT_S = 400 * DAY_S
MOST_VERSIONS = 12  # of a product in a sample; the devices with other versions are counted together
MOST_COUNTED = 10_000


async def run(site: "Site", ask: Callable[..., Awaitable[Any]]) -> None:
    """Run forever. `ask(function, *arguments)` waits for the site's database."""
    while True:
        await asyncio.sleep(LOOK_S)
        try:
            await ask(take_due, site)
        except (OSError, Unavailable):  # the next sample, a minute later, is good enough
            continue


def take_due(site: "Site") -> None:
    """Take a sample of each product whose newest sample is at least EVERY_S old."""
    now_s = site.now_s()
    for product, sample in site.database.read(_newest).items():
        if sample is None or not 0 <= now_s - sample["at_s"] < EVERY_S:
            counted = site.database.read(count, product, now_s)  # a slow read: not in the write transaction
            site.database.write(store, product, counted)


def count(conn: sa.Connection, product: str, now_s: int) -> Row:
    """Count the devices of a product (its id) that are not removed.

    {at_s, versions: {version: devices}, other, never, devices, checked_in, updated, silent, unclaimed}. `versions`: the
    MOST_VERSIONS most frequent ones; `other`: devices with other versions; `never`: devices that have never checked in.
    `checked_in` and `updated` (devices that confirmed an update) are of the last day.
    """
    here = devices.c.product == product, devices.c.removed_s.is_(None)
    n = sa.func.count()
    checked_in, silent = devices.c.seen_s > now_s - DAY_S, queries.silent(now_s)
    found = sa.select(
        n, *map(_number_with, (devices.c.version.is_(None), checked_in, silent, sa.not_(devices.c.claimed)))
    )
    total, never, *numbers = conn.execute(found.where(*here)).one()
    by_version = sa.select(devices.c.version, n).where(*here, devices.c.version.is_not(None))
    by_version = by_version.group_by(devices.c.version).order_by(n.desc(), devices.c.version).limit(MOST_VERSIONS)
    versions = {version: count for version, count in conn.execute(by_version)}
    confirmed = grants.c.state == "confirmed", grants.c.changed_s > now_s - DAY_S, releases.c.product == product
    return {
        "at_s": now_s,
        "versions": versions,
        "other": total - never - sum(versions.values()),
        "never": never,
        "devices": total,
        **dict(zip(("checked_in", "silent", "unclaimed"), numbers)),
        "updated": conn.execute(sa.select(n).select_from(grants.join(releases)).where(*confirmed)).scalar_one(),
    }


def _number_with(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.func.sum(sa.case((condition, 1), else_=0)), 0)


_other = fleet_samples.alias()


def store(conn: sa.Connection, product: str, counted: Row) -> None:
    """Store the result of count(), instead of the earlier sample of the same hour; thin and delete old samples."""
    if queries.product_by_id(conn, product) is None:
        return  # deleted since it was counted
    now_s = counted["at_s"]
    mine, at_s = fleet_samples.c.product == product, fleet_samples.c.at_s
    old = _other.c.product == product, _other.c.at_s < now_s - HOURLY_S
    last_of_days = sa.select(sa.func.max(_other.c.at_s)).where(*old).group_by(_other.c.at_s // DAY_S)
    conn.execute(fleet_samples.delete().where(mine, at_s >= now_s - now_s % 3600))
    conn.execute(fleet_samples.delete().where(mine, at_s < now_s - HOURLY_S, at_s.not_in(last_of_days)))
    conn.execute(fleet_samples.delete().where(mine, at_s < now_s - KEPT_S))
    counts = json.dumps({name: value for name, value in counted.items() if name != "at_s"})
    conn.execute(fleet_samples.insert().values(product=product, at_s=now_s, counts=counts))


def of(conn: sa.Connection, product: str) -> list[Row]:
    """The samples of a product (its id), oldest first, each as in count()."""
    found = sa.select(fleet_samples).where(fleet_samples.c.product == product).order_by(fleet_samples.c.at_s)
    return [_sample(row) for row in conn.execute(found).mappings()]


def _sample(row: sa.RowMapping) -> Row:
    return {"at_s": row["at_s"], **json.loads(row["counts"])}


def _newest(conn: sa.Connection) -> dict[str, Row | None]:
    """The newest sample of each product, or None: {product's id: as in count()}."""
    last = sa.select(sa.func.max(_other.c.at_s)).where(_other.c.product == products.c.id)
    newest = sa.and_(fleet_samples.c.product == products.c.id, fleet_samples.c.at_s == last.scalar_subquery())
    found = sa.select(products.c.id, fleet_samples.c.at_s, fleet_samples.c.counts)
    rows = conn.execute(found.select_from(products.outerjoin(fleet_samples, newest))).mappings()
    return {row["id"]: _sample(row) if row["counts"] else None for row in rows}


def current(conn: sa.Connection, now_s: int, product: str | None = None) -> list[Row]:
    """The numbers of every product, or of one (its id), by name: [{id, name, ...}], as in count().

    The newest samples are used if more than MOST_COUNTED devices would have to be counted, and if a worker takes them.
    """
    found = []
    newest, left = _newest(conn), MOST_COUNTED
    for each in queries.product_names(conn):
        if product in (None, each["id"]):
            sample = newest[each["id"]]
            left -= _up_to(conn, each["id"], left + 1)
            if left >= 0 or sample is None or not 0 <= now_s - sample["at_s"] < 2 * EVERY_S:
                sample = count(conn, each["id"], now_s)
            found.append({**each, **sample})
    return found


def _up_to(conn: sa.Connection, product: str, most: int) -> int:
    """The number of the product's devices, counted up to `most`."""
    some = (
        sa.select(devices.c.id).where(devices.c.product == product, devices.c.removed_s.is_(None)).limit(max(0, most))
    )
    return conn.execute(sa.select(sa.func.count()).select_from(some.subquery())).scalar_one()
