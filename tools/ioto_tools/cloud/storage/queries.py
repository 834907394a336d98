"""Queries and changes of products, releases, devices and reports. Rows are returned as dicts.

Each function takes a connection in a transaction (`Database.read` or `write`). All statements run on both SQLite and
PostgreSQL.
"""

import functools
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ..rules.update_states import REPORTS
from . import change_log
from .tables import LONG, Row, devices, packed_files, products, releases, reports

if TYPE_CHECKING:
    from ..devices.registration import RegistrationRequest

_INSERT = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def upsert(conn: sa.Connection, table: sa.Table) -> Any:
    """An INSERT with `on_conflict_do_update` and `on_conflict_do_nothing`, for the connection's database."""
    return _INSERT[conn.dialect.name](table)


def among(conn: sa.Connection, column: sa.Column[str], values: Iterable[str]) -> sa.ColumnElement[bool]:
    """`column IN values`, with one parameter, so that the statement is the same for any number of values."""
    if conn.dialect.name == "postgresql":
        return column == sa.any_(sa.literal(list(values), postgresql.ARRAY(sa.String)))
    each = sa.func.json_each(json.dumps(list(values))).table_valued("value")
    return column.in_(sa.select(each.c.value))


def among_given(dialect: str, column: sa.Column[str], name: str) -> sa.ColumnElement[bool]:
    """Like among(), for a statement that is built once for each kind of database; `name`: the parameter, a listed()."""
    if dialect == "postgresql":
        return column == sa.any_(sa.bindparam(name, type_=postgresql.ARRAY(sa.String)))
    each = sa.func.json_each(sa.bindparam(name, type_=sa.Text)).table_valued("value")
    return column.in_(sa.select(each.c.value))


def listed(conn: sa.Connection, values: Iterable[str]) -> list[str] | str:
    """The values as a parameter of among_given()."""
    return list(values) if conn.dialect.name == "postgresql" else json.dumps(list(values))


def _rows(found: sa.Result[Any]) -> list[Row]:
    return [dict(row) for row in found.mappings()]


def _row(found: sa.Result[Any]) -> Row | None:
    row = found.mappings().first()
    return dict(row) if row else None


# ---- limited transactions


def products_allowed(conn: sa.Connection) -> frozenset[str] | None:
    """The products (ids) to which the transaction is limited, because the operator's token is; None: all."""
    found: frozenset[str] | None = conn.get_execution_options().get("products")
    return found


def visible(conn: sa.Connection, product: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Condition for rows that the transaction may show or change; `product`: the column with the product's id."""
    allowed = products_allowed(conn)
    return sa.true() if allowed is None else product.in_(allowed)


# ---- products


def add_product(conn: sa.Connection, id: str, name: str, now_s: int, by_hand: bool = False) -> Row:
    """Add a product; return its row."""
    conn.execute(products.insert().values(id=id, name=name, created_s=now_s, by_hand=by_hand))
    return dict(conn.execute(sa.select(products).where(products.c.id == id)).mappings().one())


def product_by_id_or_name(conn: sa.Connection, word: str) -> Row | None:
    """The product with this id or name, or None."""
    found = sa.select(products).where(sa.or_(products.c.id == word, products.c.name == word))
    return _row(conn.execute(found.where(visible(conn, products.c.id)).order_by(products.c.id != word)))


def product_by_id(conn: sa.Connection, id: str) -> Row | None:
    return _row(conn.execute(sa.select(products).where(products.c.id == id)))


def product_name(conn: sa.Connection, id: str) -> str:
    """The name of an existing product."""
    name: str = conn.execute(sa.select(products.c.name).where(products.c.id == id)).scalar_one()
    return name


NEW_S = 24 * 3600  # a device is new for this time after its first registration


def all_products(conn: sa.Connection, now_s: int = 0) -> list[Row]:
    """Every product, sorted by name, with the numbers of its `devices`, `new` devices and `updates`."""
    count = sa.func.count()
    there = sa.select(count).where(devices.c.product == products.c.id, devices.c.removed_s.is_(None))
    here, new = there.scalar_subquery(), there.where(devices.c.first_s > now_s - NEW_S).scalar_subquery()
    published = sa.select(count).where(releases.c.product == products.c.id, releases.c.archived_s.is_(None))
    return _rows(
        conn.execute(
            sa.select(products, here.label("devices"), new.label("new"), published.scalar_subquery().label("updates"))
            .where(visible(conn, products.c.id))
            .order_by(products.c.name)
        )
    )


def product_names(conn: sa.Connection) -> list[Row]:
    """Every product, sorted by name: [{id, name}]."""
    found = sa.select(products.c.id, products.c.name).where(visible(conn, products.c.id))
    return _rows(conn.execute(found.order_by(products.c.name)))


# ---- releases


def add_release(conn: sa.Connection, release: Row) -> None:
    conn.execute(releases.insert().values(release))


def releases_of(conn: sa.Connection, product: str) -> list[Row]:
    found = sa.select(releases).where(releases.c.product == product, visible(conn, releases.c.product))
    return _rows(conn.execute(found))


def release(conn: sa.Connection, id: str) -> Row | None:
    return _row(conn.execute(sa.select(releases).where(releases.c.id == id, visible(conn, releases.c.product))))


def packed_file(conn: sa.Connection, release: str, checksum: str) -> Row | None:
    """The packed file of the release with this checksum, if it has been made, or None."""
    made = packed_files.c.release == release, packed_files.c.checksum == checksum, packed_files.c.state == "made"
    return _row(conn.execute(sa.select(packed_files).where(*made)))


def make_again(conn: sa.Connection, release: str, checksum: str, now_s: int) -> None:
    """Let the release's packed file with this checksum be made again: it is lost, or truncated."""
    which = packed_files.c.release == release, packed_files.c.checksum == checksum
    values: Row = {"state": "waiting", "checksum": None, "size": None, "lease_s": None}
    conn.execute(packed_files.update().where(*which).values(values))
    change_log.note(conn, now_s)


def release_by_version(conn: sa.Connection, product: str, precedence: str) -> Row | None:
    """The product's release whose version has this `precedence` (selection.precedence), or None."""
    found = sa.select(releases).where(releases.c.product == product, releases.c.precedence == precedence)
    return _row(conn.execute(found.where(visible(conn, releases.c.product))))


def all_releases(conn: sa.Connection, product: str | None = None) -> list[Row]:
    """Every release with its `product_name`; if `product` (an id) is given, only the releases of this product."""
    found = sa.select(releases, products.c.name.label("product_name")).join(products)
    found = found.where(visible(conn, releases.c.product))
    return _rows(conn.execute(found.where(releases.c.product == product) if product else found))


# ---- devices


# A device is one id of one product. Other tables refer to it by its `key`, which is never shown.


def device(conn: sa.Connection, key: str) -> Row | None:
    """The row of a device, removed or not, with its `product_name`; None if there is no such device."""
    return _row(conn.execute(_DEVICES.where(devices.c.key == key)))


def device_by_id(conn: sa.Connection, product: str, id: str) -> Row | None:
    """Like device(), by the ids of the product and the device."""
    found = _DEVICES.where(devices.c.id == id, devices.c.product == product, visible(conn, devices.c.product))
    return _row(conn.execute(found))


def devices_with(conn: sa.Connection, id: str) -> list[Row]:
    """Every device with this id, sorted by product name; rows as in device()."""
    found = _DEVICES.where(devices.c.id == id, visible(conn, devices.c.product))
    return _rows(conn.execute(found.order_by(products.c.name)))


_DEVICES = sa.select(devices, products.c.name.label("product_name")).join(products)


def devices_by_id(
    conn: sa.Connection, columns: Sequence[Any], which: Sequence[sa.ColumnElement[bool]], most: int
) -> list[sa.RowMapping]:
    """The `columns`, including `key` and `id`, of devices that match all conditions in `which`, sorted by id.

    Removed devices are left out. At most `most` rows, plus the other devices with the last id: devices of several
    products may share an id, and the next page begins after it.
    """
    found = sa.select(*columns).where(devices.c.removed_s.is_(None), *which, visible(conn, devices.c.product))
    found = found.order_by(devices.c.id, devices.c.product)
    rows = list(conn.execute(found.limit(most)).mappings())
    if len(rows) == most:
        last = rows[-1]["id"]
        have = [row["key"] for row in rows if row["id"] == last]
        rows += conn.execute(found.where(devices.c.id == last, devices.c.key.not_in(have))).mappings().all()
    return rows


def register(
    conn: sa.Connection, key: str, asking: "RegistrationRequest", claimed: bool, now_s: int, new: bool
) -> None:
    """Store a registration of the device `key`; `new`: its first one, or the first after its removal."""
    row = {
        "product": asking.product,
        "properties": json.dumps(asking.properties),
        "registered_s": now_s,
        "removed_s": None,
        "claimed": claimed,
        "address": asking.address,
    }
    unknown: Row = {
        column.name: column.default.arg for column in devices.c if isinstance(column.default, sa.ColumnDefault)
    }
    unknown["first_s"] = now_s
    unknown |= dict.fromkeys(("reported_s", "refused_s", "booted_s", "mixed_s", "shared_s"))
    first = upsert(conn, devices).values(
        key=key, id=asking.id, registrations=1, checkins=0, unknown_reports=0, **unknown | row
    )
    again = dict(unknown | row if new else row, registrations=devices.c.registrations + 1)
    conn.execute(first.on_conflict_do_update(index_elements=[devices.c.key], set_=again))


def store_check_ins(conn: sa.Connection, rows: list[Row]) -> None:
    """Store check-ins: [{device (its key), version, properties, at_s, next_s, booted_s}]."""
    values: Row = {name: sa.bindparam(name) for name in ("version", "properties", "next_s", "booted_s")}
    seen = devices.update().where(devices.c.key == sa.bindparam("device"))
    conn.execute(seen.values(checkins=devices.c.checkins + 1, seen_s=_AT, interval_s=_INTERVAL, **values), rows)


INTERVAL_S = 25 * 3600  # assumed after one check-in: the agent's defaults are a day, and up to an hour of jitter
_AT = sa.bindparam("at_s", type_=LONG)
# The longest recent interval: a few restarts or extra check-ins do not make a device seem to check in more often.
_GAP, _BEFORE = _AT - devices.c.seen_s, sa.func.coalesce(devices.c.interval_s, INTERVAL_S)
_INTERVAL = sa.case(
    (devices.c.seen_s.is_(None), None), (_GAP * 4 > _BEFORE * 3, _GAP), (_GAP * 100 < _BEFORE, _BEFORE * 31 // 32),
        else_=_BEFORE * 3 // 4
)  # fmt: skip

SILENT_MARGIN_S = 3600  # a device is silent if its check-in is late by a quarter of its interval, and by this time


def silent(now_s: int) -> sa.ColumnElement[bool]:
    """The condition that selects claimed devices whose check-in is overdue.

    The interval is the one that the device sent, else the one that was observed, else INTERVAL_S. Devices that have
    never checked in are left out.
    """
    interval_s = sa.func.coalesce(devices.c.next_s, devices.c.interval_s, INTERVAL_S)
    margin_s = sa.case((interval_s > 4 * SILENT_MARGIN_S, interval_s / 4), else_=SILENT_MARGIN_S)
    return sa.and_(devices.c.claimed, devices.c.seen_s.is_not(None), devices.c.seen_s < now_s - interval_s - margin_s)


# ---- reports


def add_reports(conn: sa.Connection, rows: Sequence[Row], news: bool) -> None:
    """Store the reports `rows`. If one with the same device, release, attempt and state is stored already, count it.

    `news`: the reports have changed their grants. So each is about another offer than the stored report, and replaces
    that.
    """
    if rows:
        conn.execute(_add_reports(conn.dialect.name, news), rows)


@functools.cache
def _add_reports(dialect: str, news: bool) -> Any:
    new: Any = _INSERT[dialect](reports)
    new = new.values({column.name: sa.bindparam(column.name) for column in reports.c} | {"times": 1})
    kept = "device", "release", "attempt", "state", "times"
    replaced = {column.name: column for column in new.excluded if news and column.name not in kept}
    again = {"times": reports.c.times + 1, **replaced}
    return new.on_conflict_do_update(index_elements=list(reports.primary_key), set_=again)


def count_unknown_reports(conn: sa.Connection, keys: Iterable[str]) -> None:
    """Count a report about an unknown update for each of the devices `keys`."""
    more = devices.update().values(unknown_reports=devices.c.unknown_reports + 1)
    conn.execute(more.where(among(conn, devices.c.key, keys)))


_STEP = sa.case({state: step for step, state in enumerate(REPORTS)}, value=reports.c.state)


def reports_of(conn: sa.Connection, device: str) -> list[Row]:
    """Every report of a device in order of arrival, each with `update_version`.

    Reports of the same second are in the order of an attempt (REPORTS).
    """
    found = sa.select(reports, releases.c.version.label("update_version")).join(releases)
    found = found.where(reports.c.device == device)
    return _rows(conn.execute(found.order_by(reports.c.received_s, reports.c.attempt, _STEP)))
