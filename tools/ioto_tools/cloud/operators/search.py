"""Lists the products with the numbers of their devices, which are counted up to a limit."""

from typing import TYPE_CHECKING

import sqlalchemy as sa

from ..storage import queries
from ..storage.tables import Row, devices, releases
from ..storage.tables import products as products_

if TYPE_CHECKING:
    from ..site.site import Site

COUNTED = 100_000  # devices are counted up to this number


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
