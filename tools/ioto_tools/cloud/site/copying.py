"""Copies a whole site into another one, with any database and store: images and all tables, and verifies that they are
equal.

A second run resumes: equal rows and images are kept, different ones are corrected, surplus ones deleted. All rows are
from one snapshot of the source, which may be served during the copy.
"""

import hashlib

import sqlalchemy as sa

from ..http.errors import CloudError
from ..images.folder_store import CHUNK_BYTES
from ..storage.queries import upsert
from ..storage.tables import metadata, releases

ROWS = 1000  # at a time
_MODULO = 1 << 256


class Sum:
    """The number of rows, and the sum of their SHA-256, which does not depend on their order."""

    def __init__(self) -> None:
        self.rows = 0
        self._sum = 0

    def add(self, row) -> None:
        self.rows += 1
        self._sum += int.from_bytes(hashlib.sha256(repr(tuple(row)).encode()).digest(), "big")

    def __eq__(self, other):
        return self.as_dict() == other.as_dict()

    def as_dict(self):
        return {"rows": self.rows, "sha256": "%064x" % (self._sum % _MODULO)}


def copy(source, target, progress=lambda what, done, total: None):
    """Make `target` (a Site) equal to `source`; return {images, bytes, tables: {name: {rows, sha256}}}.

    `progress(what, done, total)`: rows of the table `what`, or bytes of "images". CloudError if they differ afterwards.
    """
    sums = source.database.read(_tables, target.database, progress)
    _same(sums, target.database.read(summed), target.data)
    images = _images(source, target, progress)
    return {**images, "tables": {name: each.as_dict() for name, each in sums.items()}}


def unchanged(source, copied):
    """CloudError if `source` has changed since copy()."""
    now = {name: each.as_dict() for name, each in source.database.read(summed).items()}
    if now != copied["tables"]:
        raise CloudError(
            "%s changed during the copy: stop its servers, then run the same command again: it resumes here"
            % source.data
        )


def summed(conn):
    """{table: its Sum}."""
    return {table.name: _summed(conn, table) for table in metadata.sorted_tables}


def _summed(conn, table):
    found = Sum()
    for rows in _pages(conn, table):
        for row in rows:
            found.add(row)
    return found


def _pages(conn, table):
    return conn.execute(sa.select(table).execution_options(yield_per=ROWS)).partitions()


def _same(wanted, found, where):
    wrong = [name for name in wanted if wanted[name] != found[name]]
    if wrong:
        raise CloudError(
            "%s: tables %s differ from their source: stop whatever writes there, then run the same command again"
            % (where, ", ".join(wrong))
        )


# ---- tables


def _tables(conn, target, progress):
    for table in reversed(metadata.sorted_tables):  # referring tables first
        _remove_surplus(conn, table, target)
    sums = {table.name: _copied(conn, table, target, progress) for table in metadata.sorted_tables}
    target.write(_count_on)
    return sums


def _copied(conn, table, target, progress):
    total, found = conn.execute(sa.select(sa.func.count()).select_from(table)).scalar(), Sum()
    for page in _pages(conn, table):
        target.write(_take, table, [dict(row._mapping) for row in page])
        for row in page:
            found.add(row)
        progress(table.name, found.rows, total)
    return found


def _key(table):
    return sa.tuple_(*table.primary_key)


def _take(conn, table, rows) -> None:
    names = [column.name for column in table.primary_key]
    keys = [tuple(row[name] for name in names) for row in rows]
    there = {
        tuple(row[name] for name in names): dict(row)
        for row in conn.execute(sa.select(table).where(_key(table).in_(keys))).mappings()
    }
    different = [row for key, row in zip(keys, rows) if there.get(key) != row]
    if different:
        new = upsert(conn, table)
        others = {column.name: new.excluded[column.name] for column in table.columns if not column.primary_key}
        clash = {"index_elements": list(table.primary_key)}
        conn.execute(
            new.on_conflict_do_update(set_=others, **clash) if others else new.on_conflict_do_nothing(**clash),
            different,
        )


def _remove_surplus(conn, table, target) -> None:
    after = None
    while keys := target.read(_keys_after, table, after):
        after = keys[-1]
        there = set(map(tuple, conn.execute(sa.select(*table.primary_key).where(_key(table).in_(keys)))))
        if surplus := [key for key in keys if key not in there]:
            target.write(_remove, table, surplus)


def _keys_after(conn, table, after):
    found = sa.select(*table.primary_key).order_by(*table.primary_key).limit(ROWS)
    if after is not None:
        found = found.where(_key(table) > sa.tuple_(*after))
    return list(map(tuple, conn.execute(found)))


def _remove(conn, table, keys) -> None:
    conn.execute(table.delete().where(_key(table).in_(keys)))


def _count_on(conn) -> None:
    """Set PostgreSQL's sequences to continue after the copied numbers; SQLite does this by itself."""
    if conn.dialect.name != "postgresql":
        return
    for table in metadata.sorted_tables:
        if (column := table.autoincrement_column) is not None:
            last = sa.select(sa.func.coalesce(sa.func.max(column), 0) + 1).scalar_subquery()
            conn.execute(
                sa.select(sa.func.setval(sa.func.pg_get_serial_sequence(table.name, column.name), last, False))
            )


# ---- images


def _images(source, target, progress):
    wanted = target.database.read(_checksums)
    total, done = sum(wanted.values()), 0
    lost = []
    for checksum, size in wanted.items():
        if not _whole(target.images, checksum, size):
            if _whole(source.images, checksum, size):
                _copy_image(source, target, checksum)
            else:
                lost.append(checksum)
        done += size
        progress("images", done, total)
    if lost:
        raise CloudError(
            "%s: images are lost or damaged: SHA-256 %s: publish their files again under the same versions, then "
            "run the same command again" % (source.data, ", ".join(lost))
        )
    return {"images": len(wanted), "bytes": total}


def _checksums(conn):
    return dict(
        tuple(row)
        for row in conn.execute(
            sa.select(releases.c.checksum, releases.c.size).distinct().order_by(releases.c.checksum)
        )
    )


def _copy_image(source, target, checksum):
    with source.images.open(checksum) as file, target.images.receive(_chunks(file)) as incoming:
        incoming.keep()
    if not _whole(target.images, checksum, incoming.size):
        raise CloudError(
            "%s: image %s differs after it was copied: run the same command again, and check the disk if it happens "
            "again" % (target.data, checksum)
        )


def _chunks(file):
    while chunk := file.read(CHUNK_BYTES):
        yield chunk


def _whole(images, checksum, size):
    """Does the image exist, with every byte correct?"""
    sha256 = hashlib.sha256()
    try:
        with images.open(checksum) as file:
            if file.size != size:
                return False
            for chunk in _chunks(file):
                sha256.update(chunk)
    except FileNotFoundError:
        return False
    return sha256.hexdigest() == checksum
