"""The orders of a list of devices: the position of a device in the list, as text, and the devices after it."""

import json
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ..http.errors import CloudError
from ..policy import values
from ..storage.tables import devices
from .device_filter import Condition, DeviceFilter

MOST_VERSIONS = 200  # a list of devices with more versions can't be sorted by version
_MAX = 2**63 - 1


@dataclass(frozen=True)
class Order:
    """Devices sorted by `value`, then by id, then by product. Those with the same value and id are never separated."""

    value: sa.ColumnElement[Any] | None  # None: by id only
    descending: bool
    after: tuple[Any, str] | None  # the position after which the list begins: (value, id)

    @property
    def columns(self) -> list[sa.ColumnElement[Any]]:
        """The columns of a position."""
        return [devices.c.id] if self.value is None else [self.value.label("value"), devices.c.id]

    @property
    def by(self) -> list[sa.ColumnElement[Any]]:
        if self.value is None:
            return [devices.c.id, devices.c.product]
        return [self.value.desc() if self.descending else self.value, devices.c.id, devices.c.product]

    def is_after(self) -> list[Condition]:
        if self.after is None:
            return []
        value, id = self.after
        if self.value is None:
            return [devices.c.id > id]
        further = self.value < value if self.descending else self.value > value
        return [sa.or_(further, sa.and_(self.value == value, devices.c.id > id))]

    def is_at(self, position: "sa.RowMapping") -> list[Condition]:
        """The conditions of the devices at this position."""
        here = [devices.c.id == position["id"]]
        return here if self.value is None else [*here, self.value == position["value"]]


def order_of(conn: sa.Connection, wanted: DeviceFilter, scope: list[Condition], after: str) -> Order:
    """The order of the filter `wanted`, for devices that match `scope`. `after`: from position(), or empty."""
    name = wanted.sort.removeprefix("-")
    if name == "id":
        return Order(None, False, (None, after) if after else None)
    begin = _position(name, after) if after else None
    descending = wanted.sort != name
    if name == "version":
        ranks = _ranks(conn, scope, begin[0] if begin else None)
        value: Any = sa.case(ranks, value=devices.c.version, else_=-1) if ranks else sa.literal(-1)
        return Order(value, descending, (ranks.get(begin[0], -1), begin[1]) if begin else None)
    return Order(sa.func.coalesce(_COLUMNS[name], -1), descending, begin)


_COLUMNS: dict[str, sa.ColumnElement[Any]] = {"seen": devices.c.seen_s, "first": devices.c.first_s}


def position(wanted: DeviceFilter, row: "sa.RowMapping") -> str:
    """The position of a device, as text. `row`: with `id`, `version` and the order's columns."""
    if wanted.sort == "id":
        return str(row["id"])
    value = row["version"] if wanted.sort.removeprefix("-") == "version" else row["value"]
    return json.dumps([value, row["id"]])


def _position(name: str, text: str) -> tuple[Any, str]:
    """(value, id) of a position that position() returned. CloudError if it is not one."""
    try:
        value, id = json.loads(text)
        id.encode()
        if name == "version":
            (value or "").encode()
            valid = "\0" not in id + (value or "")
        else:
            valid = "\0" not in id and type(value) is int and -1 <= value <= _MAX
    except (ValueError, TypeError, AttributeError, RecursionError):
        valid = False
    if not valid:
        raise CloudError("after %s: expected: the position that the previous page returned" % text[:80])
    return value, id


def _ranks(conn: sa.Connection, scope: list[Condition], also: str | None) -> dict[str, int]:
    """{version: its rank by SemVer precedence}; versions that are not SemVer have the lowest ranks."""
    found = (
        sa.select(devices.c.version).where(devices.c.version.is_not(None), *scope).distinct().limit(MOST_VERSIONS + 1)
    )
    versions = set(conn.execute(found).scalars())
    if len(versions) > MOST_VERSIONS:
        raise CloudError("sort version: the devices run more than %d versions: add a condition" % MOST_VERSIONS)
    versions |= {also} if also is not None else set()
    return {version: rank for rank, version in enumerate(sorted(versions, key=_precedence))}


def _precedence(version: str) -> tuple[Any, ...]:
    key = values.version(version)
    return (0, (), version) if key is None else (1, key, version)
