"""Copies all tables and images of a site into another one, and verifies that they are equal.

The databases and image stores may be of different kinds. A second run resumes: equal rows and images are kept,
different ones are corrected, surplus ones are deleted. All rows are from one snapshot of the source, which may be
served during the copy.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypedDict

import sqlalchemy as sa

from ..http.errors import CloudError
from ..images.folder_store import CHUNK_BYTES
from ..storage.queries import upsert
from ..storage.tables import Row, metadata, packed_files, releases
from ..storage.transactions import Database
from .site import Site

ROWS = 1000  # in one transaction
_MODULO = 1 << 256
Progress = Callable[[str, int, int], None]  # progress(what, done, total)
Key = tuple[Any, ...]  # the primary key of a row


class SumAsDict(TypedDict):
    """A Sum as JSON: `sha256` in hex."""

    rows: int
    sha256: str


class Copied(TypedDict):
    """The result of copy(): the number of images, their bytes, and the Sum of each table."""

    images: int
    bytes: int
    tables: dict[str, SumAsDict]


class Sum:
    """The number of rows, and the sum of their SHA-256, which does not depend on their order."""

    def __init__(self) -> None:
        self.rows = 0
        self._sum = 0

    def add(self, row: "sa.Row[*tuple[Any, ...]]") -> None:
        self.rows += 1
        self._sum += int.from_bytes(hashlib.sha256(repr(tuple(row)).encode()).digest(), "big")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sum) and self.as_dict() == other.as_dict()

    def as_dict(self) -> SumAsDict:
        return {"rows": self.rows, "sha256": "%064x" % (self._sum % _MODULO)}


def copy(source: Site, target: Site, progress: Progress = lambda what, done, total: None) -> Copied:
    """Make `target` equal to `source`; return what was copied.

    `progress(what, done, total)`: rows of the table `what`, or bytes of "images". CloudError if the sites differ
    afterwards.
    """
    sums = source.database.read(_copy_tables, target.database, progress)
    _check_equal(sums, target.database.read(summed), target.data)
    images, size = _copy_images(source, target, progress)
    return {"images": images, "bytes": size, "tables": {name: each.as_dict() for name, each in sums.items()}}


def unchanged(source: Site, copied: Copied) -> None:
    """Raise CloudError if `source` has changed since copy()."""
    now = {name: each.as_dict() for name, each in source.database.read(summed).items()}
    if now != copied["tables"]:
        raise CloudError(
            "%s changed during the copy: stop its servers, then run the same command again to resume" % source.data
        )


def summed(conn: sa.Connection) -> dict[str, Sum]:
    """The Sum of each table, by the table's name."""
    return {table.name: _sum_table(conn, table) for table in metadata.sorted_tables}


def _sum_table(conn: sa.Connection, table: sa.Table) -> Sum:
    found = Sum()
    for rows in _pages(conn, table):
        for row in rows:
            found.add(row)
    return found


def _pages(conn: sa.Connection, table: sa.Table) -> Iterator[Sequence["sa.Row[*tuple[Any, ...]]"]]:
    return conn.execute(sa.select(table).execution_options(yield_per=ROWS)).partitions()


def _check_equal(wanted: dict[str, Sum], found: dict[str, Sum], where: object) -> None:
    wrong = [name for name in wanted if wanted[name] != found[name]]
    if wrong:
        raise CloudError(
            "%s: tables %s differ from their source: stop all programs that write there, then run the same command "
            "again" % (where, ", ".join(wrong))
        )


# ---- tables


def _copy_tables(conn: sa.Connection, target: Database, progress: Progress) -> dict[str, Sum]:
    """Make all tables of `target` equal to those of `conn`; return their sums."""
    for table in reversed(metadata.sorted_tables):  # tables that refer to others first
        _remove_surplus(conn, table, target)
    sums = {table.name: _copy_table(conn, table, target, progress) for table in metadata.sorted_tables}
    target.write(_set_sequences)
    return sums


def _copy_table(conn: sa.Connection, table: sa.Table, target: Database, progress: Progress) -> Sum:
    total, found = conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one(), Sum()
    for page in _pages(conn, table):
        target.write(_store, table, [dict(row._mapping) for row in page])
        for row in page:
            found.add(row)
        progress(table.name, found.rows, total)
    return found


def _key(table: sa.Table) -> Any:
    return sa.tuple_(*table.primary_key)


def _store(conn: sa.Connection, table: sa.Table, rows: list[Row]) -> None:
    """Store rows of the source: add the missing ones, correct those that differ."""
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


def _remove_surplus(conn: sa.Connection, table: sa.Table, target: Database) -> None:
    """Remove the rows of `target` that the source, `conn`, does not have."""
    after: Key | None = None
    while keys := target.read(_keys_after, table, after):
        after = keys[-1]
        there = set(map(tuple, conn.execute(sa.select(*table.primary_key).where(_key(table).in_(keys)))))
        if surplus := [key for key in keys if key not in there]:
            target.write(_delete, table, surplus)


def _keys_after(conn: sa.Connection, table: sa.Table, after: Key | None) -> list[Key]:
    found = sa.select(*table.primary_key).order_by(*table.primary_key).limit(ROWS)
    if after is not None:
        found = found.where(_key(table) > sa.tuple_(*after))
    return list(map(tuple, conn.execute(found)))


def _delete(conn: sa.Connection, table: sa.Table, keys: list[Key]) -> None:
    conn.execute(table.delete().where(_key(table).in_(keys)))


def _set_sequences(conn: sa.Connection) -> None:
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


def _copy_images(source: Site, target: Site, progress: Progress) -> tuple[int, int]:
    """Copy the images that the target lacks; return the number of its images and the sum of their bytes."""
    wanted = target.database.read(_checksums)
    total, done = sum(wanted.values()), 0
    lost = []
    for checksum, size in wanted.items():
        if not _is_intact(target.images, checksum, size):
            if _is_intact(source.images, checksum, size):
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
    return len(wanted), total


def _checksums(conn: sa.Connection) -> dict[str, int]:
    """The images and packed files of all releases that are not archived: {checksum: size}."""
    own = sa.select(releases.c.checksum, releases.c.size).where(releases.c.archived_s.is_(None))
    made = sa.select(packed_files.c.checksum, packed_files.c.size).where(packed_files.c.state == "made")
    found = sa.union(own, made).order_by("checksum")
    return dict(tuple(row) for row in conn.execute(found))


def _copy_image(source: Site, target: Site, checksum: str) -> None:
    with source.images.open(checksum) as file, target.images.receive(_chunks(file)) as incoming:
        incoming.keep()
    if not _is_intact(target.images, checksum, incoming.size):
        raise CloudError(
            "%s: image %s differs after it was copied: run the same command again; if it happens again, check the disk"
            % (target.data, checksum)
        )


def _chunks(file: Any) -> Iterator[bytes]:
    while chunk := file.read(CHUNK_BYTES):
        yield chunk


def _is_intact(images: Any, checksum: str, size: int) -> bool:
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
