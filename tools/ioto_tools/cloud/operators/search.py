"""Searches devices by id prefix and policy, page by page; lists products. The cost does not grow with the fleet."""

import json
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ..storage import queries
from ..storage.tables import Row, devices, releases
from ..storage.tables import products as products_
from . import hidden_fields, overview

if TYPE_CHECKING:
    from ..site.site import Site

PAGE = 50  # devices on a page
MOST_EXAMINED = 5000  # for one page, the policy is evaluated for at most this many devices
LAST = chr(0x10FFFF)
COUNTED = 100_000  # devices are counted up to this number
# Keys of the devices found, number of devices examined, id after which the next page begins.
Page = tuple[list[str], int, str | None]


def page(
    site: "Site",
    product: str | None = None,
    begins: str = "",
    which: overview.Which | None = None,
    after: str = "",
    most: int = PAGE,
) -> Row:
    """One page of devices, by id.

    {"devices": about `most`, as in overview.devices(), "looked": number of devices examined, "after": the id after
    which the next page begins, or None for the last page}. `which`(properties, {}): a policy that selects devices.
    """
    if which is not None and (names := hidden_fields.names(site)):  # a policy must not reveal hidden ids
        asked = which

        def which(properties: Row, facts: Row) -> bool:
            return asked(hidden_fields.hide(properties, names), facts)

    return site.database.read(_page, product, begins, which, after, most)


def _page(
    conn: sa.Connection, product: str | None, begins: str, which: overview.Which | None, after: str, most: int
) -> Row:
    if which is None:
        keys, looked, last = _by_id(conn, product, begins, after, most)
    else:
        keys, looked, last = _by_policy(conn, product, begins, which, after, most)
    found = sa.select(devices, products_.c.name.label("product_name")).join(products_).where(devices.c.key.in_(keys))
    found = found.order_by(devices.c.id, devices.c.product)
    offered = overview.last_offered(conn, keys)
    rows = [overview.device_summary(row, offered.get(row["key"])) for row in conn.execute(found).mappings()]
    return {"devices": rows, "looked": looked, "after": last}


def _by_id(conn: sa.Connection, product: str | None, begins: str, after: str, most: int) -> Page:
    rows = queries.devices_by_id(conn, _KEY_AND_ID, _conditions(product, begins, after), most)
    last = rows[-1]["id"] if len(rows) >= most else None
    more = last is not None and queries.devices_by_id(conn, _KEY_AND_ID, _conditions(product, begins, last), 1)
    return [row["key"] for row in rows], len(rows), last if more else None


def _by_policy(
    conn: sa.Connection, product: str | None, begins: str, which: overview.Which, after: str, most: int
) -> Page:
    keys: list[str] = []
    looked = 0
    for row in queries.devices_by_id(
        conn, (*_KEY_AND_ID, devices.c.properties), _conditions(product, begins, after), MOST_EXAMINED
    ):
        if len(keys) >= most and row["id"] != after:
            return keys, looked, after
        looked, after = looked + 1, row["id"]
        if which(json.loads(row["properties"]), {}):
            keys.append(row["key"])
    return keys, looked, after if looked >= MOST_EXAMINED else None


_KEY_AND_ID = devices.c.key, devices.c.id


def _conditions(product: str | None, begins: str, after: str) -> list[sa.ColumnElement[bool]]:
    # Only one lower bound: SQLite would use only the first of two for its index.
    found = [devices.c.id >= begins if begins > after else devices.c.id > after]
    if begins:
        found.append(devices.c.id < begins + LAST)
    if product:
        found.append(devices.c.product == product)
    return found


def products(site: "Site") -> list[Row]:
    """[{id, name, devices, new, updates}] by name; `devices` and `new` (devices) are counted up to COUNTED."""
    return site.database.read(_products, site.now_s())


def _products(conn: sa.Connection, now_s: int) -> list[Row]:
    published = sa.select(sa.func.count()).where(releases.c.product == products_.c.id, releases.c.archived_s.is_(None))
    found = sa.select(products_.c.id, products_.c.name, published.scalar_subquery().label("updates")).order_by(
        products_.c.name
    )
    found = found.where(queries.visible(conn, products_.c.id))
    new = devices.c.first_s > now_s - queries.NEW_S
    rows = conn.execute(found).mappings().all()
    return [dict(row, devices=_counted(conn, row["id"]), new=_counted(conn, row["id"], new)) for row in rows]


def _counted(conn: sa.Connection, product: str, *which: sa.ColumnElement[bool]) -> int:
    some = (
        sa.select(devices.c.product)
        .where(devices.c.product == product, devices.c.removed_s.is_(None), *which)
        .limit(COUNTED)
    )
    return conn.execute(sa.select(sa.func.count()).select_from(some.subquery())).scalar_one()
