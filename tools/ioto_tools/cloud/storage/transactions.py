"""A site's database: reads, writes and deferred writes, with the same behaviour for SQLite and PostgreSQL."""

import copy
from collections.abc import Callable, Hashable, Sequence
from typing import Protocol, Self, TypeVar, TypeVarTuple

import sqlalchemy as sa

from . import migrate
from .deferred_writes import WriteRows
from .job_threads import JobThread, Writer
from .tables import Row

T = TypeVar("T")
Item = TypeVar("Item")
Arguments = TypeVarTuple("Arguments")


class Transactions(Protocol):
    """The interface of the two kinds of database, Sqlite and Postgresql."""

    def read(self, function: Callable[[sa.Connection, *Arguments], T], *arguments: *Arguments) -> T: ...
    def write(self, function: Callable[[sa.Connection, *Arguments], T], *arguments: *Arguments) -> T: ...
    def limit_time(self) -> None: ...
    def run_maintenance(self) -> None: ...
    def close(self) -> None: ...


class Database:
    """The database behind `transactions`, migrated to the newest tables.

    read() and write() run a function in one transaction. With `threads`, one thread writes for all callers, and another
    one runs their batched reads; else each caller does so by itself, and deferred writes are written immediately.
    Raises Unavailable if the database does not answer.
    """

    def __init__(self, transactions: Transactions, threads: bool) -> None:
        self.transactions = transactions
        self._products: frozenset[str] | None = None
        self._writer: Writer | None = None
        self._reader: JobThread | None = None
        if transactions.read(migrate.revision) != migrate.LATEST:
            transactions.write(migrate.up)
        if threads:
            transactions.limit_time()
            self._writer = Writer(transactions.write)
            self._reader = JobThread("reader", transactions.read)

    def limited(self, products: frozenset[str] | None) -> Self:
        """The same database, with transactions limited to these products (their ids); see queries.visible()."""
        found = copy.copy(self)
        found._products = products
        return found

    def read(self, function: Callable[[sa.Connection, *Arguments], T], *arguments: *Arguments) -> T:
        """Return function(conn, *arguments), which reads from one snapshot."""
        if self._products is not None:
            return self.transactions.read(_limit, self._products, function, *arguments)
        return self.transactions.read(function, *arguments)

    def write(self, function: Callable[[sa.Connection, *Arguments], T], *arguments: *Arguments) -> T:
        """Return function(conn, *arguments) after its changes are on the disk.

        The changes are rolled back if the function raises. Write transactions never overlap.
        """
        writer = self._writer or self.transactions
        if self._products is not None:
            return writer.write(_limit, self._products, function, *arguments)
        return writer.write(function, *arguments)

    async def write_batched(
        self, function: Callable[[sa.Connection, list[Item]], Sequence[T | Exception]], item: Item
    ) -> T:
        """Await the result for `item` of function(conn, [item, ...]), after its changes are on the disk.

        All items that wait for the writer are passed in one call. A result that is an exception is raised.
        """
        if self._writer:
            return _result(await self._writer.run_batched(function, item))
        return _result(self.transactions.write(function, [item])[0])

    async def read_batched(
        self, function: Callable[[sa.Connection, list[Item]], Sequence[T | Exception]], item: Item
    ) -> T:
        """Like write_batched(), for a function that reads from one snapshot."""
        if self._reader:
            return _result(await self._reader.run_batched(function, item))
        return _result(self.transactions.read(function, [item])[0])

    def write_later(self, function: WriteRows, key: Hashable, row: Row) -> None:
        """Call function(conn, [row, ...]) within a second, with the last row of each key.

        A crash loses the rows that are not written yet.
        """
        if self._writer:
            self._writer.soft.add(function, key, row)
        else:
            self.transactions.write(function, [row])

    def run_maintenance(self) -> None:
        """Run the database's periodic maintenance."""
        self.transactions.run_maintenance()

    def close(self) -> None:
        for thread in (self._reader, self._writer):
            if thread:
                thread.close()
        self.transactions.close()


def _result(found: T | Exception) -> T:
    """The result of a batch function for one item. Raises it if it is an exception."""
    if isinstance(found, Exception):
        raise found
    return found


def _limit(
    conn: sa.Connection,
    products: frozenset[str],
    function: Callable[[sa.Connection, *Arguments], T],
    *arguments: *Arguments,
) -> T:
    """Return function(conn, *arguments); meanwhile, the transaction is limited to the products."""
    conn.execution_options(products=products)
    try:
        return function(conn, *arguments)
    finally:
        conn.execution_options(products=None)
