"""Deferred writes: rows that are written up to a second later, for example the time of a check-in.

A crash loses at most these rows.
"""

import logging
import threading
import time
from collections.abc import Callable, Hashable

import sqlalchemy as sa

from ..http.errors import Unavailable
from .tables import Row

WAIT_S = 1.0
ROWS = 50_000  # maximum number of waiting rows; many rows wait during a database outage
CHARACTERS = 64 * 1024 * 1024  # maximum total length of their texts
WriteRows = Callable[[sa.Connection, list[Row]], None]  # a function that writes rows
_log = logging.getLogger("ioto.cloud")


class DeferredWrites:
    """Rows to be written together; a newer row with the same key replaces the older one. Thread-safe."""

    def __init__(self) -> None:
        self._rows: dict[WriteRows, dict[Hashable, Row]] = {}
        self._characters = 0
        self._lock = threading.Lock()
        self._taken_at = time.monotonic()

    def __len__(self) -> int:
        return sum(map(len, self._rows.values()))

    def add(self, function: WriteRows, key: Hashable, row: Row) -> None:
        """Schedule function(conn, [row, ...]). Raises Unavailable if too many rows are waiting already."""
        with self._lock:
            rows = self._rows.setdefault(function, {})
            more = _characters(row) - _characters(rows.get(key, {}))
            if key not in rows and len(self) >= ROWS or more > 0 and self._characters + more > CHARACTERS:
                raise Unavailable(
                    "%d rows with %d characters are already waiting for the database" % (len(self), self._characters)
                )
            rows[key] = row
            self._characters += more

    def due(self) -> bool:
        """Are rows waiting, and were rows last taken at least WAIT_S ago?"""
        return bool(self._rows) and time.monotonic() - self._taken_at >= WAIT_S

    def take(self) -> dict[WriteRows, dict[Hashable, Row]]:
        """Remove and return all waiting rows: {function: {key: row}}."""
        with self._lock:
            taken, self._rows, self._characters = self._rows, {}, 0
            self._taken_at = time.monotonic()
        return taken

    def put_back(self, function: WriteRows, rows: dict[Hashable, Row], error: BaseException) -> None:
        """Put back rows whose write has failed with Unavailable. After any other error, log that they are lost.

        A row is not put back if a newer one with its key is waiting.
        """
        if not isinstance(error, Unavailable):
            _log.error("%d deferred writes are lost: %s: %s", len(rows), function.__qualname__, error)
            return
        with self._lock:
            self._rows[function] = {**rows, **self._rows.get(function, {})}
            self._characters = sum(_characters(row) for waiting in self._rows.values() for row in waiting.values())


def _characters(row: Row) -> int:
    return sum([len(value) for value in row.values() if value.__class__ is str])
