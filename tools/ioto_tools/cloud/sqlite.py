"""SQLite in WAL mode: readers never wait, writers wait for each other (`BEGIN IMMEDIATE`, so that none fails half way), and
a write is on the disk before it is answered (`synchronous=FULL`).
"""

import sqlite3
import threading
import time

import sqlalchemy as sa

from . import migrate

BUSY_MS = 5000  # how long a writer waits for one in another process


class Sqlite:
    """The database in the file `path`, brought to the newest tables. Any thread may use it."""

    def __init__(self, path):
        self.engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)))
        sa.event.listen(self.engine, "connect", _connected)
        sa.event.listen(self.engine, "begin", _begin)
        self._writing = threading.Lock()  # fairer than SQLite's own polling
        if self.read(migrate.revision) != migrate.LATEST:
            self.write(migrate.up)

    def read(self, function, *arguments):
        """What function(conn, *arguments) returns; all that it reads is of one moment."""
        with self.engine.connect() as conn, conn.begin():
            return function(conn, *arguments)

    def write(self, function, *arguments):
        """What function(conn, *arguments) returns, once its changes are on the disk; they are undone when it raises.

        Nobody else writes meanwhile.
        """
        with self._writing, self.engine.connect().execution_options(write=True) as conn, conn.begin():
            return function(conn, *arguments)

    def soft(self, function, key, row):
        """function(conn, [row, ...]) soon, with the last row of each key: for what may be lost in a crash, a second's worth."""
        self.write(function, [row])

    def close(self):
        self.engine.dispose()


def _connected(connection, record):
    connection.isolation_level = None  # transactions are ours to begin
    connection.execute("PRAGMA busy_timeout=%d" % BUSY_MS)
    _write_ahead(connection)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


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


def _begin(conn):
    conn.exec_driver_sql("BEGIN IMMEDIATE" if conn.get_execution_options().get("write") else "BEGIN")
