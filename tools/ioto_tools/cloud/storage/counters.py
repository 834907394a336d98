"""Counters, for example of requests.

A worker counts in memory, and adds its counts to the database every second; a crash loses the counts of one second.
"""

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ..http.errors import Unavailable
from .queries import upsert
from .tables import counters

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ..site.site import Site

_FLUSH_S = 1
_CALLS = {"/tok/provision/update": "check_in", "/tok/provision/updateReport": "report", "/device/register": "register",
          "/api/device/register": "register", "/tok/device/provision": "provision"}  # fmt: skip


class Counters:
    """The counts of one worker that are not in the database yet."""

    def __init__(self, site: "Site") -> None:
        self.site = site
        self._waiting: dict[str, int] = {}
        self._flushed_s = 0.0
        self._number = itertools.count()

    def add(self, name: str) -> None:
        """Count one event, and flush the counts if the last flush was at least a second ago."""
        self._waiting[name] = self._waiting.get(name, 0) + 1
        now_s = self.site.clock()
        if not 0 <= now_s - self._flushed_s < _FLUSH_S:
            self._flushed_s = now_s
            self.flush()

    def flush(self) -> None:
        """Pass the counts to the database as a deferred write."""
        waiting, self._waiting = self._waiting, {}
        try:
            # Each batch has its own key, so that none replaces another.
            self.site.database.write_later(added, ("counters", id(self), next(self._number)), waiting)
        except (OSError, Unavailable):
            for name, n in waiting.items():
                self._waiting[name] = self._waiting.get(name, 0) + n


def added(conn: sa.Connection, rows: Iterable[dict[str, int]]) -> None:
    """Add `rows`, each {name: increment}, to the counters."""
    sums: dict[str, int] = {}
    for row in rows:
        for name, n in row.items():
            sums[name] = sums.get(name, 0) + n
    for name in sorted(sums):  # a fixed order, so that two transactions can't deadlock
        new = upsert(conn, counters).values(name=name, value=sums[name])
        conn.execute(
            new.on_conflict_do_update(index_elements=[counters.c.name], set_={"value": counters.c.value + sums[name]})
        )


def read(conn: sa.Connection) -> dict[str, int]:
    """All counters: {name: value}."""
    return {row.name: row.value for row in conn.execute(sa.select(counters))}


def one(conn: sa.Connection, name: str) -> int:
    """The value of one counter; 0 if it does not exist."""
    return conn.execute(sa.select(counters.c.value).where(counters.c.name == name)).scalar() or 0


def begin_with(conn: sa.Connection, text: str) -> dict[str, int]:
    """The counters whose names begin with `text`: {name: value}."""
    return {
        row.name: row.value
        for row in conn.execute(sa.select(counters).where(counters.c.name.startswith(text, autoescape=True)))
    }


def remove(conn: sa.Connection, name: str) -> None:
    conn.execute(counters.delete().where(counters.c.name == name))


def put(conn: sa.Connection, name: str, value: int) -> None:
    """Set a counter to `value`."""
    new = upsert(conn, counters).values(name=name, value=value)
    conn.execute(new.on_conflict_do_update(index_elements=[counters.c.name], set_={"value": value}))


class CountResponses:
    """ASGI middleware that counts responses by call and status, for example `http check_in 200`."""

    def __init__(self, app: "ASGIApp", counters: Counters) -> None:
        self.app = app
        self.counters = counters

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def counting(message: "Message") -> None:
            if message["type"] == "http.response.start":
                self.counters.add("http %s %d" % (_call_name(scope["path"]), message["status"]))
            await send(message)

        await self.app(scope, receive, counting)


def _call_name(path: str) -> str:
    if path in _CALLS:
        return _CALLS[path]
    return {"image": "image", "api": "api", "metrics": "metrics"}.get(path[1:].partition("/")[0], "other")
