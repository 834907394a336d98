"""SQLite in WAL mode. Readers never wait.

Writers wait for each other at the start of a transaction (`BEGIN IMMEDIATE`), so that none fails later because of
another. write() returns after the changes are on the disk (`synchronous=FULL`).
"""

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple

import sqlalchemy as sa

from ..http.errors import Unavailable

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

JOURNAL_BYTES = 16 * 1024 * 1024  # size to which the write-ahead log file is truncated after it is written back
BUSY_MS = 5000  # how long a writer waits for one in another process
_THREADS = 40  # concurrent readers: as many as there are request threads
# SQLite's errors that are due to the disk or another program, not to the statement.
_UNAVAILABLE = {
    "BUSY", "CANTOPEN", "CORRUPT", "FULL", "IOERR", "LOCKED", "NOMEM", "NOTADB", "PERM", "PROTOCOL", "READONLY",
}  # fmt: skip


class Sqlite:
    """Transactions in the file `path`. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # The WAL files get the same mode. If opening fails, SQLite's error says more. A file that exists must not be
        # opened here: closing it would end the locks of the process's other connections, which lose their data
        # (https://www.sqlite.org/howtocorrupt.html, 2.2).
        with contextlib.suppress(OSError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        self.reading = self._engine("BEGIN", "PRAGMA query_only=ON")
        self.writing = self._engine("BEGIN IMMEDIATE", "PRAGMA synchronous=FULL")
        self._write_lock = threading.Lock()  # fairer than SQLite's own polling

    def _engine(self, begin: str, pragma: str) -> sa.Engine:
        # Errors are logged without the parameters, which may contain secrets of webhooks.
        engine = sa.create_engine(
            sa.URL.create("sqlite", database=str(self.path)), max_overflow=_THREADS, hide_parameters=True
        )
        sa.event.listen(engine, "connect", lambda connection, record: _configure(connection, pragma))
        sa.event.listen(engine, "begin", lambda conn: conn.exec_driver_sql(begin))
        sa.event.listen(engine, "handle_error", self._translate_error)
        return engine

    def read(self, function: Callable[[sa.Connection, *Arguments], T], *arguments: *Arguments) -> T:
        with self.reading.connect() as conn, conn.begin():
            return function(conn, *arguments)

    def write(self, function: Callable[[sa.Connection, *Arguments], T], *arguments: *Arguments) -> T:
        with self._write_lock, self.writing.connect() as conn, conn.begin():
            result = function(conn, *arguments)
            if not _connection(conn).in_transaction:  # COMMIT would not raise
                raise Unavailable("%s: the transaction was lost: is the disk full?" % self.path)
            return result

    def limit_time(self) -> None:
        """Nothing to do: BUSY_MS limits the wait for other processes."""

    def run_maintenance(self) -> None:
        """Write back and truncate the write-ahead log, without waiting if another connection is in use."""
        with self.writing.connect() as conn:
            connection = _connection(conn)
            connection.execute("PRAGMA busy_timeout=0")
            try:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                connection.execute("PRAGMA busy_timeout=%d" % BUSY_MS)

    def close(self) -> None:
        self.reading.dispose()
        self.writing.dispose()

    def _translate_error(self, context: sa.ExceptionContext) -> Unavailable | None:
        name = getattr(context.original_exception, "sqlite_errorname", "")
        if name.removeprefix("SQLITE_").partition("_")[0] in _UNAVAILABLE:
            return Unavailable(
                "%s: %s: is the disk full, or does another program use the file?"
                % (self.path, context.original_exception)
            )
        return None


def _connection(conn: sa.Connection) -> Any:
    """The sqlite3.Connection behind `conn`."""
    return conn.connection.dbapi_connection


def _configure(connection: Any, pragma: str) -> None:
    connection.isolation_level = None  # this module begins transactions itself
    connection.execute("PRAGMA busy_timeout=%d" % BUSY_MS)
    _set_wal_mode(connection)
    connection.execute("PRAGMA journal_size_limit=%d" % JOURNAL_BYTES)
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute(pragma)


def _set_wal_mode(connection: Any) -> None:
    """Set WAL mode, which is stored in the file.

    The loop is needed because busy_timeout does not apply if two connections set the mode at the same time.
    """
    give_up = time.monotonic() + BUSY_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.01)
