"""Deferred writes: rows that are written up to a second later, such as the time of a check-in. A crash loses at most
these.
"""

import logging
import threading
import time

from ..http.errors import Unavailable

WAIT_S = 1.0
ROWS = 50_000  # maximum number of waiting rows, such as during a database outage
CHARACTERS = 64 * 1024 * 1024  # maximum length of all their texts together
_log = logging.getLogger("ioto.cloud")


class Soft:
    """Rows to be written together; a newer row of the same key replaces the older one. Thread-safe."""

    def __init__(self) -> None:
        self._rows = {}  # {function: {key: row}}
        self._characters = 0
        self._lock = threading.Lock()
        self._taken_at = time.monotonic()

    def __len__(self) -> int:
        return sum(map(len, self._rows.values()))

    def add(self, function, key, row):
        """Schedule function(conn, [row, ...]). Unavailable if too many rows are waiting: nothing is lost silently."""
        with self._lock:
            rows = self._rows.setdefault(function, {})
            more = _characters(row) - _characters(rows.get(key, {}))
            if key not in rows and len(self) >= ROWS or more > 0 and self._characters + more > CHARACTERS:
                raise Unavailable(
                    "%d rows with %d characters are already waiting for the database" % (len(self), self._characters)
                )
            rows[key] = row
            self._characters += more

    def due(self):
        return bool(self._rows) and time.monotonic() - self._taken_at >= WAIT_S

    def take(self):
        """Remove and return all waiting rows: {function: {key: row}}."""
        with self._lock:
            taken, self._rows, self._characters = self._rows, {}, 0
            self._taken_at = time.monotonic()
        return taken

    def failed(self, function, rows, error) -> None:
        """Put back rows that could not be written because of Unavailable, except where a newer row is waiting; log any
        other loss.
        """
        if not isinstance(error, Unavailable):
            _log.error("%d soft writes are lost: %s: %s", len(rows), function.__qualname__, error)
            return
        with self._lock:
            self._rows[function] = {**rows, **self._rows.get(function, {})}
            self._characters = sum(_characters(row) for waiting in self._rows.values() for row in waiting.values())


def _characters(row):
    return sum(len(value) for value in row.values() if isinstance(value, str))
