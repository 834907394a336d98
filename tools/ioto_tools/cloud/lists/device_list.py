"""Lists the devices that match a filter, page by page, and counts them.

No call examines more than MOST_EXAMINED devices (MOST_COSTLY, if the filter needs more than the device's row), so none
takes long, whatever the number of devices. It returns the position at which the next call continues.
"""

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ..http.errors import CloudError
from ..operators import overview
from ..storage import queries
from ..storage.tables import Row, devices, grants, products
from .device_filter import Condition, DeviceFilter, was_offered
from .device_order import Order, order_of, position

if TYPE_CHECKING:
    from ..site.site import Site

PAGE = 50  # devices on a page
MOST_EXAMINED = 25_000
MOST_COSTLY = 5000
MOST_COSTLY_SORTED = 1000  # in any order other than by id, for which all devices are sorted
MOST_SORTED = 100_000  # more devices can only be listed by id
LAST = chr(0x10FFFF)
# Keys of the devices found, number of devices examined, position after which the next call continues or None.
Found = tuple[list[str], int, str | None]


def page(site: "Site", wanted: DeviceFilter, after: str = "", most: int = PAGE) -> Row:
    """One page of devices, in the filter's order.

    {"devices": about `most`, as in overview.devices(), "looked": number of devices examined, "after": the position
    after which the next page begins, or None for the last page}. A page may have fewer devices, or none, before the
    last one. If the filter names a release, `update` is the offer of this release. CloudError if `after` is not such a
    position, or if there are too many devices for the order.
    """
    return site.database.read(_page, wanted, after, most)


def _page(conn: sa.Connection, wanted: DeviceFilter, after: str, most: int) -> Row:
    keys, looked, after_page = find(conn, wanted, after, most)
    found = sa.select(devices, products.c.name.label("product_name")).join(products).where(devices.c.key.in_(keys))
    rows = {row["key"]: row for row in conn.execute(found).mappings()}
    offered = overview.last_offered(conn, keys, wanted.release)
    return {
        "devices": [overview.device_summary(rows[key], offered.get(key)) for key in keys],
        "looked": looked,
        "after": after_page,
    }


def find(conn: sa.Connection, wanted: DeviceFilter, after: str, most: int, *also: Condition) -> Found:
    """The first `most` devices after a position (or a few more: devices with the same id are not separated).

    `also`: further conditions, on the rows of `devices`.
    """
    scope, is_small = scope_of(conn, wanted)
    order = order_of(conn, wanted, scope, after)
    end: str | None
    if wanted.sort == "id":
        looked, end, bounds = _bounds(conn, wanted, after, is_small)
    else:
        looked, end, bounds = 0, None, [*order.is_after(), devices.c.id >= wanted.begins]
        if not is_small and _window(conn, wanted, [], MOST_SORTED + 1)[1] is not None:
            raise CloudError("sort %s: more than %d devices: choose a product" % (wanted.sort, MOST_SORTED))
    columns = [devices.c.key, devices.c.version, *order.columns, *([devices.c.properties] if wanted.tests else [])]
    found = sa.select(*columns).where(*scope, *bounds, *also).order_by(*order.by)
    if wanted.tests:
        most_rows = MOST_COSTLY if wanted.sort == "id" else MOST_COSTLY_SORTED
    else:
        most_rows = most
    rows, has_more = _take(conn, found, order, most_rows)
    return _tested(wanted, rows, most, looked, has_more, end)


def _tested(
    wanted: DeviceFilter, rows: list[sa.RowMapping], most: int, looked: int, has_more: bool, end: str | None
) -> Found:
    """The first `most` of `rows` that the filter's tests select."""
    if not wanted.tests:
        after = position(wanted, rows[-1]) if has_more else end
        return [row["key"] for row in rows], len(rows) if has_more else max(looked, len(rows)), after
    keys: list[str] = []
    after = ""
    for n, row in enumerate(rows):
        here = position(wanted, row)
        if len(keys) >= most and here != after:
            return keys, n, after
        after = here
        properties = json.loads(row["properties"])
        if all(test(properties) for test in wanted.tests):
            keys.append(row["key"])
    return keys, max(looked, len(rows)) if not has_more else len(rows), after if has_more else end


def scope_of(conn: sa.Connection, wanted: DeviceFilter) -> tuple[list[Condition], bool]:
    """(the filter's conditions on the rows of `devices`, do they select only a few devices by an index?)

    If few devices were offered the release or are in the states, they are looked up. Else each device is checked.
    """
    scope = [*wanted.conditions, queries.visible(conn, devices.c.product)]
    scope += [devices.c.id < wanted.begins + LAST] if wanted.begins else []
    if not wanted.held:
        return scope, False
    some = sa.select(grants.c.device).where(*wanted.held)
    indexed = sa.select(grants.c.device).where(*wanted.held[: wanted.indexed]).limit(MOST_COSTLY + 1)
    if conn.execute(sa.select(sa.func.count()).select_from(indexed.subquery())).scalar_one() <= MOST_COSTLY:
        return [*scope, devices.c.key.in_(some)], True
    # In another order than by id, all devices are read at once: then, one join is faster than a look-up for each.
    return [*scope, was_offered(*wanted.held) if wanted.sort == "id" else devices.c.key.in_(some)], False


def _bounds(
    conn: sa.Connection, wanted: DeviceFilter, after: str, is_small: bool
) -> tuple[int, str | None, list[Condition]]:
    """(number, last id, conditions) of the devices by id that this call examines; the id is None if these are all."""
    # Only one lower bound: SQLite would use only the first of two for its index.
    bounds: list[Condition] = [devices.c.id >= wanted.begins if wanted.begins > after else devices.c.id > after]
    if is_small:
        return 0, None, bounds
    n, last = _window(conn, wanted, bounds, MOST_COSTLY if wanted.tests or wanted.is_costly else MOST_EXAMINED)
    return n, last, bounds if last is None else [*bounds, devices.c.id <= last]


def _window(conn: sa.Connection, wanted: DeviceFilter, bounds: list[Condition], most: int) -> tuple[int, str | None]:
    """(number, last id) of the first `most` devices by id within `bounds`; the id is None if there are fewer.

    Of the filter, only the product and the beginning of the id apply, for which there are indexes.
    """
    which = [devices.c.removed_s.is_(None), queries.visible(conn, devices.c.product), *bounds]
    which += [devices.c.product == wanted.product] if wanted.product else []
    which += [devices.c.id < wanted.begins + LAST] if wanted.begins else []
    ids = sa.select(devices.c.id).where(*which).order_by(devices.c.id).limit(most).subquery()
    n, last = conn.execute(sa.select(sa.func.count(), sa.func.max(ids.c.id))).one()
    return n, last if n == most else None


def _take(conn: sa.Connection, found: sa.Select[Any], order: Order, most: int) -> tuple[list[sa.RowMapping], bool]:
    """(the first `most` rows, and the others with the last one's position; are there more?)"""
    rows = list(conn.execute(found.limit(most + 1)).mappings())
    if len(rows) <= most:
        return rows, False
    rest = rows.pop()
    last = rows[-1]
    if any(rest[column.name] != last[column.name] for column in order.columns):
        return rows, True
    have = [row["key"] for row in rows if row["id"] == last["id"]]
    same = conn.execute(found.where(*order.is_at(last), devices.c.key.not_in(have))).mappings().all()
    return rows + list(same), True


# ---- counting


def count(site: "Site", wanted: DeviceFilter, after: str = "", *also: Condition) -> Row:
    """Count the devices after a position, by id: {"found": number, "looked": number of devices examined, "after"}.

    `after`: as in page(), so several calls may be necessary.
    """
    return site.database.read(_counted, replace(wanted, sort="id"), after, *also)


def _counted(conn: sa.Connection, wanted: DeviceFilter, after: str, *also: Condition) -> Row:
    if wanted.tests:
        keys, looked, then = find(conn, wanted, after, MOST_COSTLY, *also)
        return {"found": len(keys), "looked": looked, "after": then}
    scope, is_small = scope_of(conn, wanted)
    looked, end, bounds = _bounds(conn, wanted, after, is_small)
    n = conn.execute(sa.select(sa.func.count()).select_from(devices).where(*scope, *bounds, *also)).scalar_one()
    return {"found": n, "looked": max(looked, n), "after": end}
