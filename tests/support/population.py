"""Fills a site's database with many devices: copies of the rows of one device that has registered and checked in.

The id of device N is `BENCH` and seven digits, its token is `token-` and the id. The database makes the copies.
"""

import hashlib
import sqlite3

import sqlalchemy as sa
from ioto_tools.cloud.site.site import DATABASE
from ioto_tools.cloud.storage.tables import devices, tokens

PREFIX = "BENCH"
BLOCK = 500_000  # rows in a transaction

_SERIES = "WITH RECURSIVE series(n) AS (SELECT %d UNION ALL SELECT n + 1 FROM series WHERE n < %d)"
_SQLITE = {"id": "'BENCH' || printf('%07d', n)", "hash": "token_hash('token-BENCH' || printf('%07d', n))"}
_POSTGRESQL = {
    "id": "'BENCH' || lpad(n::text, 7, '0')",
    "hash": "encode(sha256(convert_to('token-BENCH' || lpad(n::text, 7, '0'), 'UTF8')), 'hex')",
}


def id_of(n):
    return "%s%07d" % (PREFIX, n)


def token_of(n):
    return "token-" + id_of(n)


def fill(site, like, first, count, told=lambda n: None):
    """Add `count` copies of the device with the id `like`, numbered from `first`; call told(n) after n copies."""
    sqlite = not site.settings["database"]
    words = _SQLITE if sqlite else _POSTGRESQL
    for start in range(first, first + count, BLOCK):
        last = min(start + BLOCK, first + count) - 1
        statements = [_SERIES % (start, last) + each for each in (_devices(words, like), _tokens(words, like))]
        if sqlite:
            _in_sqlite(site, statements)
        else:
            site.database.write(_execute, statements)
        told(last + 1 - first)


def _devices(words, like):
    values = {
        "key": words["id"],
        "id": words["id"],
        "properties": "replace(properties, '%s', %s)" % (like, words["id"]),
    }
    return _copies(devices, values, like)


def _tokens(words, like):
    return _copies(tokens, {"hash": words["hash"], "device": words["id"]}, like)


def _copies(table, values, like):
    columns = [column.name for column in table.columns]
    copied = ", ".join(values.get(name, '"%s"' % name) for name in columns)
    names = ", ".join('"%s"' % name for name in columns)
    key = "key" if table is devices else "device"
    one = "SELECT * FROM %s WHERE %s = (SELECT key FROM devices WHERE id = '%s')" % (table.name, key, like)
    return " INSERT INTO %s (%s) SELECT %s FROM series, (%s) AS one" % (table.name, names, copied, one)


def _execute(conn, statements):
    for each in statements:
        conn.exec_driver_sql(each.replace("%", "%%"))


def _in_sqlite(site, statements):
    # These rows may be lost in a crash, so SQLite need not wait for the disk. The large cache is for the indexes.
    with sqlite3.connect(site.data / DATABASE) as connection:
        connection.create_function("token_hash", 1, lambda token: hashlib.sha256(token.encode()).hexdigest())
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA cache_size=-1000000")
        for each in statements:
            connection.execute(each)
        connection.commit()
    connection.close()


def database_bytes(site):
    """The size of the database on the disk, after a checkpoint."""
    if site.settings["database"]:
        return site.database.read(
            lambda conn: conn.execute(sa.text("SELECT pg_database_size(current_database())")).scalar()
        )
    with sqlite3.connect(site.data / DATABASE) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return (site.data / DATABASE).stat().st_size
