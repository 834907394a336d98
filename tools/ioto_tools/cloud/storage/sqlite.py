"""SQLite in WAL mode: readers never wait, writers wait for each other (`BEGIN IMMEDIATE`, so that none fails half way), and
a write is on the disk before it is answered (`synchronous=FULL`).
"""

import contextlib
import os
import sqlite3
import threading
import time

import sqlalchemy as sa

from ..http.errors import Unavailable

JOURNAL_BYTES = 16 * 1024 * 1024  # of the write-ahead log that stay on the disk once it is written back
BUSY_MS = 5000  # how long a writer waits for one in another process
_THREADS = 40  # that may read at a time: as many as serve requests
_AWAY = {"BUSY", "CANTOPEN", "CORRUPT", "FULL", "IOERR", "LOCKED", "NOMEM", "NOTADB", "PERM", "PROTOCOL", "READONLY"}


class Sqlite:
    """Transactions in the file `path`. Any thread may use it."""

    def __init__(self, path):
        self.path = path
        with contextlib.suppress(OSError):  # what is wrong is said when it is opened
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))  # the files beside it get the same mode
        self.reading = self._engine("BEGIN", "PRAGMA query_only=ON")
        self.writing = self._engine("BEGIN IMMEDIATE", "PRAGMA synchronous=FULL")
        self._turn = threading.Lock()  # fairer than SQLite's own polling

    def _engine(self, begin, pragma):
        # A fault is logged without what was to be written: secrets of webhooks are among it.
        engine = sa.create_engine(sa.URL.create("sqlite", database=str(self.path)), max_overflow=_THREADS, hide_parameters=True)
        sa.event.listen(engine, "connect", lambda connection, record: _connected(connection, pragma))
        sa.event.listen(engine, "begin", lambda conn: conn.exec_driver_sql(begin))
        sa.event.listen(engine, "handle_error", self._failed)
        return engine

    def read(self, function, *arguments):
        with self.reading.connect() as conn, conn.begin():
            return function(conn, *arguments)

    def write(self, function, *arguments):
        with self._turn, self.writing.connect() as conn, conn.begin():
            result = function(conn, *arguments)
            if not conn.connection.dbapi_connection.in_transaction:  # COMMIT would not mind
                raise Unavailable("%s: the transaction was lost: is the disk full?" % self.path)
            return result

    def served(self):
        """Nothing to do: nobody waits for another process for longer than BUSY_MS."""

    def tidy(self):
        """Write the log back and cut it off, unless somebody reads or writes just then: housekeeping waits for nobody."""
        with self.writing.connect() as conn:
            connection = conn.connection.dbapi_connection
            connection.execute("PRAGMA busy_timeout=0")
            try:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                connection.execute("PRAGMA busy_timeout=%d" % BUSY_MS)

    def close(self):
        self.reading.dispose()
        self.writing.dispose()

    def _failed(self, context):
        # Is it not the fault of the statement, but of the disk or of another program?
        name = getattr(context.original_exception, "sqlite_errorname", "")
        if name.removeprefix("SQLITE_").partition("_")[0] in _AWAY:
            return Unavailable("%s: %s: is the disk full, or does another program use the file?" % (self.path, context.original_exception))
        return None


def _connected(connection, pragma):
    connection.isolation_level = None  # transactions are ours to begin
    connection.execute("PRAGMA busy_timeout=%d" % BUSY_MS)
    _write_ahead(connection)
    connection.execute("PRAGMA journal_size_limit=%d" % JOURNAL_BYTES)
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute(pragma)


def _write_ahead(connection):
    # Once set it stays in the file. Two that set it at the same moment do not wait for each other: busy_timeout is not asked.
    give_up = time.monotonic() + BUSY_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.01)
