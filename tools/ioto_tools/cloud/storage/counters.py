"""Counters, such as for requests: added up in memory, and every second added to the database, for all workers together.

A worker that crashes loses the counts of one second.
"""

import itertools

import sqlalchemy as sa

from ..http.errors import Unavailable
from .queries import upsert
from .tables import counters

_FLUSH_S = 1
_CALLS = {"/tok/provision/update": "check_in", "/tok/provision/updateReport": "report", "/device/register": "register",
          "/api/device/register": "register", "/tok/device/provision": "provision"}  # fmt: skip


class Counters:
    """The counts of one worker that are not in the database yet."""

    def __init__(self, site) -> None:
        self.site = site
        self._waiting = {}
        self._flushed_s = 0
        self._number = itertools.count()

    def add(self, name) -> None:
        self._waiting[name] = self._waiting.get(name, 0) + 1
        now_s = self.site.clock()
        if not 0 <= now_s - self._flushed_s < _FLUSH_S:
            self._flushed_s = now_s
            self.flush()

    def flush(self) -> None:
        """Pass the counts to the database as a deferred write."""
        waiting, self._waiting = self._waiting, {}
        try:
            # Each row has its own key, so that none replaces another.
            self.site.database.soft(added, ("counters", id(self), next(self._number)), waiting)
        except (OSError, Unavailable):
            for name, n in waiting.items():
                self._waiting[name] = self._waiting.get(name, 0) + n


def added(conn, rows) -> None:
    """Add `rows`, each {name: increment}, to the counters."""
    sums = {}
    for row in rows:
        for name, n in row.items():
            sums[name] = sums.get(name, 0) + n
    for name in sorted(sums):  # a fixed order, so that two transactions never wait for each other
        new = upsert(conn, counters).values(name=name, value=sums[name])
        conn.execute(
            new.on_conflict_do_update(index_elements=[counters.c.name], set_={"value": counters.c.value + sums[name]})
        )


def read(conn):
    """{name: value}."""
    return {row.name: row.value for row in conn.execute(sa.select(counters))}


def one(conn, name):
    """The value of this name, 0 if there is none."""
    return conn.execute(sa.select(counters.c.value).where(counters.c.name == name)).scalar() or 0


def begin_with(conn, text):
    """{name: value} of the counters whose names begin with `text`."""
    return {
        row.name: row.value
        for row in conn.execute(sa.select(counters).where(counters.c.name.startswith(text, autoescape=True)))
    }


def remove(conn, name) -> None:
    conn.execute(counters.delete().where(counters.c.name == name))


def put(conn, name, value) -> None:
    new = upsert(conn, counters).values(name=name, value=value)
    conn.execute(new.on_conflict_do_update(index_elements=[counters.c.name], set_={"value": value}))


class Counted:
    """ASGI middleware that counts responses by call and status, such as `http check_in 200`."""

    def __init__(self, app, counters) -> None:
        self.app = app
        self.counters = counters

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def counting(message) -> None:
            if message["type"] == "http.response.start":
                self.counters.add("http %s %d" % (_call(scope["path"]), message["status"]))
            await send(message)

        await self.app(scope, receive, counting)


def _call(path):
    if path in _CALLS:
        return _CALLS[path]
    return {"image": "image", "api": "api", "metrics": "metrics"}.get(path[1:].partition("/")[0], "other")
