"""Devices a page at a time, by the beginning of their ids and by a policy; products. What it costs does not grow with the fleet."""

import json

import sqlalchemy as sa

from . import database, fleet, secrets
from .tables import devices, releases
from .tables import products as products_

PAGE = 50  # devices on a page
LOOKS = 5000  # devices that a policy is asked about before the page is shown as far as it is
LAST = chr(0x10FFFF)
COUNTED = 100_000  # devices at most


def page(site, product=None, begins="", which=None, after="", most=PAGE):
    """{"devices": as fleet.devices() gives them, at most `most`, by id, "looked": at how many, "after": go on behind this id, or
    None: that was the last}. `which`(properties, {}): a policy that chooses among them.
    """
    if which is not None and (names := secrets.names(site)):  # a policy must not tell what is not shown
        asked = which

        def which(properties, facts):
            return asked(secrets.hidden(properties, names), facts)

    return site.database.read(_page, product, begins, which, after, most)


def _page(conn, product, begins, which, after, most):
    ids, looked, after = _plain(conn, product, begins, after, most) if which is None else _chosen(conn, product, begins, which, after, most)
    found = sa.select(devices, products_.c.name.label("product_name")).join(products_).where(devices.c.id.in_(ids)).order_by(devices.c.id)
    offered = fleet.last_offered(conn, ids)
    rows = [fleet.device_shown(row, offered.get(row["id"])) for row in conn.execute(found).mappings()]
    return {"devices": rows, "looked": looked, "after": after}


def _plain(conn, product, begins, after, most):
    ids = [row.id for row in conn.execute(_rows(product, begins, after, most + 1, devices.c.id))]
    return ids[:most], len(ids[:most]), ids[most - 1] if len(ids) > most else None


def _chosen(conn, product, begins, which, after, most):
    ids, looked = [], 0
    for id, properties in conn.execute(_rows(product, begins, after, LOOKS, devices.c.id, devices.c.properties)):
        looked, after = looked + 1, id
        if which(json.loads(properties), {}):
            ids.append(id)
            if len(ids) == most:
                return ids, looked, after
    return ids, looked, after if looked == LOOKS else None


def _rows(product, begins, after, most, *columns):
    found = sa.select(*columns).where(devices.c.removed_s.is_(None)).order_by(devices.c.id).limit(most)
    # One lower bound: SQLite takes the first one it sees for its index.
    found = found.where(devices.c.id >= begins if begins > after else devices.c.id > after)
    if begins:
        found = found.where(devices.c.id < begins + LAST)
    return found.where(devices.c.product == product) if product else found


def products(site):
    """[{id, name, devices, new, updates}] by name; of `devices`, and of those that are new, no more than COUNTED are counted."""
    return site.database.read(_products, site.now_s())


def _products(conn, now_s):
    published = sa.select(sa.func.count()).where(releases.c.product == products_.c.id).scalar_subquery()
    found = sa.select(products_.c.id, products_.c.name, published.label("updates")).order_by(products_.c.name)
    new = devices.c.first_s > now_s - database.NEW_S
    rows = conn.execute(found).mappings().all()
    return [dict(row, devices=_counted(conn, row["id"]), new=_counted(conn, row["id"], new)) for row in rows]


def _counted(conn, product, *which):
    some = sa.select(devices.c.id).where(devices.c.product == product, devices.c.removed_s.is_(None), *which).limit(COUNTED)
    return conn.execute(sa.select(sa.func.count()).select_from(some.subquery())).scalar()
