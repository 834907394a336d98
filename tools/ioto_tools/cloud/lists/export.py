"""Exports all devices that match a filter, as CSV or JSON, piece by piece."""

import csv
import io
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from ..operators import hidden_fields
from ..storage.tables import Row
from . import device_list
from .device_filter import DeviceFilter

if TYPE_CHECKING:
    from ..site.site import Site

FORMATS = {"csv": "text/csv; charset=utf-8", "json": "application/json"}
COLUMNS = (
    "id", "product", "version", "last check-in", "first registration", "claimed", "pinned to", "update", "state",
    "reason",
)  # fmt: skip
PIECE = 1000  # devices read at a time
# A spreadsheet would evaluate a cell that begins like this. Some programs also begin a new cell after these separators.
_FORMULA = re.compile("^(?=[\t\r\n])|(?:^|(?<=[;\t\r\n]))(?=[=+@＝＋－＠-])")


@dataclass(frozen=True)
class Export:
    media_type: str
    name: str  # of the file
    pieces: Iterator[bytes]


def pages(site: "Site", wanted: DeviceFilter) -> Iterator[list[Row]]:
    """All devices that match the filter, in its order, as lists of rows as in overview.devices()."""
    names, after = hidden_fields.names(site), ""
    while True:
        found = device_list.page(site, wanted, after, PIECE)
        yield hidden_fields.hide(found["devices"], names)
        if found["after"] is None:
            return
        after = found["after"]


def export(site: "Site", wanted: DeviceFilter, format: str) -> Export:
    """The list in one of FORMATS. CloudError, before the first piece, if it cannot be listed in the filter's order."""
    rest = pages(site, wanted)
    found = chain([next(rest)], rest)
    pieces = _csv(found) if format == "csv" else _json(found)
    return Export(FORMATS[format], "devices." + format, (text.encode("utf-8", "replace") for text in pieces))


def _json(found: Iterator[list[Row]]) -> Iterator[str]:
    """An array with one line for each device."""
    before = "[\n"
    for rows in found:
        if rows:
            yield before + ",\n".join(map(json.dumps, rows))
            before = ",\n"
    yield "\n]\n" if before == ",\n" else "[]\n"


def _csv(found: Iterator[list[Row]]) -> Iterator[str]:
    yield _lines([list(COLUMNS)])
    for rows in found:
        if rows:
            yield _lines([[_cell(value) for value in _values(row)] for row in rows])


def _lines(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _values(row: Row) -> tuple[Any, ...]:
    update = row["update"] or {"version": "", "state": "", "reason": ""}
    times = _moment(row["seen_s"]), _moment(row["first_s"])
    claimed = "yes" if row["claimed"] else "no"
    return (
        row["id"], row["product"], row["version"], *times, claimed, row["pin"], update["version"], update["state"],
        update["reason"],
    )  # fmt: skip


def _moment(at_s: int | None) -> str:
    return "" if at_s is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_s))


def _cell(value: str | None) -> str:
    """The text of a cell, with a `'` before each formula."""
    return _FORMULA.sub("'", value or "")
