"""Soft writes: rows that may wait a second for the database, such as when a device was last seen. A crash loses no more."""

import logging
import threading
import time

from ..http.errors import Unavailable

WAIT_S = 1.0
ROWS = 50_000  # that wait at most, as when the database is away
CHARACTERS = 64 * 1024 * 1024  # in the texts of all of them
_log = logging.getLogger("ioto.cloud")


class Soft:
    """Rows to be written together; the last one of each key counts. Any thread may add to them."""

    def __init__(self):
        self._rows = {}  # {function: {key: row}}
        self._characters = 0
        self._lock = threading.Lock()
        self._taken_at = time.monotonic()

    def __len__(self):
        return sum(map(len, self._rows.values()))

    def add(self, function, key, row):
        """function(conn, [row, ...]) is to be called soon. Unavailable when too many wait: nothing is lost silently."""
        with self._lock:
            rows = self._rows.setdefault(function, {})
            more = _characters(row) - _characters(rows.get(key, {}))
            if key not in rows and len(self) >= ROWS or more > 0 and self._characters + more > CHARACTERS:
                raise Unavailable("%d rows with %d characters are already waiting for the database" % (len(self), self._characters))
            rows[key] = row
            self._characters += more

    def due(self):
        return bool(self._rows) and time.monotonic() - self._taken_at >= WAIT_S

    def take(self):
        """{function: {key: row}} of all that waits, which waits here no more."""
        with self._lock:
            taken, self._rows, self._characters = self._rows, {}, 0
            self._taken_at = time.monotonic()
        return taken

    def failed(self, function, rows, error):
        """Rows that could not be written wait again, except where there is something newer."""
        if not isinstance(error, Unavailable):
            _log.error("%d soft writes are lost: %s: %s", len(rows), function.__qualname__, error)
            return
        with self._lock:
            self._rows[function] = {**rows, **self._rows.get(function, {})}
            self._characters = sum(_characters(row) for waiting in self._rows.values() for row in waiting.values())


def _characters(row):
    return sum(len(value) for value in row.values() if isinstance(value, str))
