"""PostgreSQL through asyncpg. A lock allows one writer at a time, so that transactions behave as with SQLite.

The connections belong to an event loop in its own thread, where functions run in greenlets (SQLAlchemy's `run_sync`).
"""

import asyncio
import re
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, TypeVarTuple

import asyncpg
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ..http.errors import CloudError, Unavailable

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

CONNECTIONS = 10  # maximum per process
CONNECT_S = 5
ANSWER_S = 20  # limit for a transaction of a server; longer than the other time limits
IDLE_S = 1  # a connection that was not used for this time is checked before its next transaction
QUIET_S = 2  # for this time after a timeout, all transactions fail immediately
LOCK = 0x696F746F  # "ioto"
_PERMANENT = ("22", "23", "25006", "42")  # SQLSTATE prefixes of permanent errors; all others may be temporary
_SESSION = {
    "application_name": "ioto",
    "synchronous_commit": "on",
    "lock_timeout": "10s",  # how long a writer waits for the others
    # Ends the transaction of a host that disappears in the middle of a write, because all other writers wait for it.
    "idle_in_transaction_session_timeout": "15s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}


class Postgresql:
    """Transactions in the database at `url`, postgresql://USER@HOST/NAME. Thread-safe."""

    def __init__(self, url: str) -> None:
        self.url = _url(url)
        self._engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=lambda: self._connect(url),
            pool_size=CONNECTIONS,
            max_overflow=0,
            pool_timeout=CONNECT_S,
            hide_parameters=True,
        )
        sa.event.listen(self._engine.sync_engine, "handle_error", self._translate_error)
        sa.event.listen(self._engine.sync_engine, "checkin", _note_use)
        sa.event.listen(self._engine.sync_engine, "checkout", _check_connection)
        self._snapshot = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="postgresql", daemon=True)
        self._thread.start()
        self._answer_s: int | None = None  # no limit: a command can wait, and its transaction may be long
        self._quiet_until = 0.0

    async def _connect(self, url: str) -> Any:
        try:
            return await asyncpg.connect(url, timeout=CONNECT_S, server_settings=_SESSION)
        except (ValueError, asyncpg.ClientConfigurationError) as e:  # the query part of the URL is invalid
            raise CloudError("database %s: %s" % (self.url, e)) from e

    def read(self, function: Callable[[sa.Connection, *Arguments], T], *arguments: *Arguments) -> T:
        return self._run(self._transaction, self._snapshot, function, *arguments)

    def write(self, function: Callable[[sa.Connection, *Arguments], T], *arguments: *Arguments) -> T:
        return self._run(self._transaction, self._engine, _as_only_writer, function, *arguments)

    def limit_time(self) -> None:
        """Limit the time of each transaction from now on, because devices wait for the answers."""
        self._answer_s = ANSWER_S

    def run_maintenance(self) -> None:
        """Nothing to do: PostgreSQL has autovacuum."""

    def close(self) -> None:
        if self._thread.is_alive():
            self._run(self._engine.dispose)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _run(self, work: Callable[[*Arguments], Coroutine[Any, Any, T]], *arguments: *Arguments) -> T:
        """Run the coroutine work(*arguments) in the event loop, and return its result."""
        assert threading.current_thread() is not self._thread, "a transaction inside another would wait forever"
        if not self._thread.is_alive():
            raise Unavailable("%s: closed" % (self.url,))  # a URL is a tuple too
        try:
            return asyncio.run_coroutine_threadsafe(work(*arguments), self._loop).result()
        except (OSError, sa.exc.TimeoutError) as e:  # refused, too slow, all connections in use
            if isinstance(e, TimeoutError):
                self._quiet_until = time.monotonic() + QUIET_S
            raise Unavailable("%s: %s" % (self.url, str(e) or type(e).__name__)) from e

    async def _transaction(
        self, engine: AsyncEngine, function: Callable[[sa.Connection, *Arguments], T], *arguments: *Arguments
    ) -> T:
        if time.monotonic() < self._quiet_until:
            raise Unavailable("%s: a request timed out less than %d s ago" % (self.url, QUIET_S))
        async with asyncio.timeout(self._answer_s), engine.begin() as conn:
            return await conn.run_sync(function, *arguments)

    def _translate_error(self, context: sa.ExceptionContext) -> Unavailable | None:
        if isinstance(context.original_exception, asyncio.CancelledError):  # at the time limit: _run() translates it
            return None
        state = getattr(context.original_exception, "sqlstate", None) or ""
        if not state.startswith(_PERMANENT):
            return Unavailable("%s: %s" % (self.url, context.original_exception))
        return None


def _note_use(connection: Any, record: Any) -> None:
    record.info["used_at"] = time.monotonic()


def _check_connection(connection: Any, record: Any, proxy: Any) -> None:
    """Make the pool open another connection if this one is from before a server outage."""
    if connection.driver_connection.is_closed():
        raise sa.exc.InvalidatePoolError
    used_at = record.info.get("used_at")  # None: new
    if used_at is not None and time.monotonic() - used_at >= IDLE_S:
        try:
            connection.ping()
        except Exception as e:
            raise sa.exc.InvalidatePoolError from e


def _as_only_writer(
    conn: sa.Connection, function: Callable[[sa.Connection, *Arguments], T], *arguments: *Arguments
) -> T:
    """Return function(conn, *arguments); no other writer runs at the same time."""
    conn.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
    return function(conn, *arguments)


def _url(text: str) -> sa.URL:
    url: sa.URL | None
    try:
        url = sa.make_url(text)
    except sa.exc.ArgumentError:
        url = None
    if url is None or url.drivername not in ("postgresql", "postgres") or not url.database:
        raise CloudError("database %s: expected: postgresql://USER@HOST/NAME" % re.sub("//.*@", "//***@", text))
    return url
