"""Database queries and changes: functions of a connection in a transaction (`Database.read` and `write`); rows are
returned as dicts.

All statements run on both SQLite and PostgreSQL.
"""

import json

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ..rules.update_states import REPORTS
from .tables import LONG, devices, products, releases, reports

_INSERT = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def upsert(conn, table):
    """An INSERT with `on_conflict_do_update` and `on_conflict_do_nothing`, in the dialect of the connection."""
    return _INSERT[conn.dialect.name](table)


def _rows(found):
    return [dict(row) for row in found.mappings()]


def _row(found):
    row = found.mappings().first()
    return dict(row) if row else None


# ---- products


def add_product(conn, id, name, now_s, by_hand: bool = False):
    conn.execute(products.insert().values(id=id, name=name, created_s=now_s, by_hand=by_hand))
    return product_by_id(conn, id)


def product(conn, word):
    """The product with this id or name, or None."""
    found = sa.select(products).where(sa.or_(products.c.id == word, products.c.name == word))
    return _row(conn.execute(found.order_by(products.c.id != word)))


def product_by_id(conn, id):
    return _row(conn.execute(sa.select(products).where(products.c.id == id)))


NEW_S = 24 * 3600  # since their first registration


def all_products(conn, now_s: int = 0):
    """Every product with the numbers of its `devices`, `new` devices and `updates`, by name."""
    count = sa.func.count()
    there = sa.select(count).where(devices.c.product == products.c.id, devices.c.removed_s.is_(None))
    here, new = there.scalar_subquery(), there.where(devices.c.first_s > now_s - NEW_S).scalar_subquery()
    published = sa.select(count).where(releases.c.product == products.c.id).scalar_subquery()
    return _rows(
        conn.execute(
            sa.select(products, here.label("devices"), new.label("new"), published.label("updates")).order_by(
                products.c.name
            )
        )
    )


def product_names(conn):
    """[{id, name}] by name, without the counts of all_products()."""
    return _rows(conn.execute(sa.select(products.c.id, products.c.name).order_by(products.c.name)))


# ---- releases


def add_release(conn, release) -> None:
    conn.execute(releases.insert().values(release))


def releases_of(conn, product):
    return _rows(conn.execute(sa.select(releases).where(releases.c.product == product)))


def release(conn, id):
    return _row(conn.execute(sa.select(releases).where(releases.c.id == id)))


def release_by_version(conn, product, precedence):
    return _row(
        conn.execute(sa.select(releases).where(releases.c.product == product, releases.c.precedence == precedence))
    )


def all_releases(conn, product=None):
    """Every release with its `product_name`."""
    found = sa.select(releases, products.c.name.label("product_name")).join(products)
    return _rows(conn.execute(found.where(releases.c.product == product) if product else found))


# ---- devices


# A device is one id of one product. Other tables refer to it by its `key`, which is never shown.


def device(conn, key):
    """The device with its `product_name`, removed or not, or None."""
    return _row(conn.execute(_DEVICES.where(devices.c.key == key)))


def device_of(conn, product, id):
    """Like device(), by its id and its product's id."""
    return _row(conn.execute(_DEVICES.where(devices.c.id == id, devices.c.product == product)))


def devices_with(conn, id):
    """Every device with this id, like device(), by product name."""
    return _rows(conn.execute(_DEVICES.where(devices.c.id == id).order_by(products.c.name)))


_DEVICES = sa.select(devices, products.c.name.label("product_name")).join(products)


def devices_by_id(conn, columns, which, most):
    """The `columns`, which include `key` and `id`, of devices that are not removed and match all conditions in `which`,
    by id.

    At most `most` rows, plus the other devices with the last id: devices of several products may share an id, and the
    next page begins after it.
    """
    found = sa.select(*columns).where(devices.c.removed_s.is_(None), *which).order_by(devices.c.id, devices.c.product)
    rows = conn.execute(found.limit(most)).mappings().all()
    if len(rows) == most:
        last = rows[-1]["id"]
        have = [row["key"] for row in rows if row["id"] == last]
        rows += conn.execute(found.where(devices.c.id == last, devices.c.key.not_in(have))).mappings().all()
    return rows


def register(conn, key, asking, claimed, now_s, new) -> None:
    """Store a registration of the device `key`; `new`: its first one, or the first after its removal.

    `asking`: registration.Registration.
    """
    row = {
        "product": asking.product,
        "properties": json.dumps(asking.properties),
        "registered_s": now_s,
        "removed_s": None,
        "claimed": claimed,
        "address": asking.address,
    }
    unknown = {column.name: column.default.arg for column in devices.c if column.default is not None} | {
        "first_s": now_s
    }
    unknown |= dict.fromkeys(("reported_s", "refused_s", "booted_s", "mixed_s", "shared_s"))
    first = upsert(conn, devices).values(
        key=key, id=asking.id, registrations=1, checkins=0, unknown_reports=0, **unknown | row
    )
    again = dict(unknown | row if new else row, registrations=devices.c.registrations + 1)
    conn.execute(first.on_conflict_do_update(index_elements=[devices.c.key], set_=again))


def checked_in(conn, rows) -> None:
    """Store check-ins: [{device (its key), version, properties, at_s, next_s, booted_s}]."""
    values = {name: sa.bindparam(name) for name in ("version", "properties", "next_s", "booted_s")}
    seen = devices.update().where(devices.c.key == sa.bindparam("device"))
    conn.execute(seen.values(checkins=devices.c.checkins + 1, seen_s=_AT, interval_s=_INTERVAL, **values), rows)


INTERVAL_S = 25 * 3600  # assumed after one check-in: the agent's defaults are a day, and up to an hour of jitter
_AT = sa.bindparam("at_s", type_=LONG)
# The longest recent interval, so that a few restarts or extra check-ins do not make a device seem to check in more
# often.
_GAP, _BEFORE = _AT - devices.c.seen_s, sa.func.coalesce(devices.c.interval_s, INTERVAL_S)
_INTERVAL = sa.case(
    (devices.c.seen_s.is_(None), None), (_GAP * 4 > _BEFORE * 3, _GAP), (_GAP * 100 < _BEFORE, _BEFORE * 31 // 32),
        else_=_BEFORE * 3 // 4
)  # fmt: skip


# ---- reports


def add_report(conn, device, release, attempt, state, row, news) -> None:
    """Store a report; a repeated (device, release, attempt, state) is only counted, unless it is `news`, from another
    offer.
    """
    new = upsert(conn, reports).values(device=device, release=release, attempt=attempt, state=state, times=1, **row)
    again = {"times": reports.c.times + 1, **(row if news else {})}
    conn.execute(new.on_conflict_do_update(index_elements=list(reports.primary_key), set_=again))


def unknown_report(conn, device) -> None:
    conn.execute(devices.update().where(devices.c.key == device).values(unknown_reports=devices.c.unknown_reports + 1))


_STEP = sa.case({state: step for step, state in enumerate(REPORTS)}, value=reports.c.state)


def reports_of(conn, device):
    """Every report of a device, with the update's `update_version`, in order of arrival, within a second in the order
    of an update.
    """
    found = sa.select(reports, releases.c.version.label("update_version")).join(releases)
    found = found.where(reports.c.device == device)
    return _rows(conn.execute(found.order_by(reports.c.received_s, reports.c.attempt, _STEP)))
