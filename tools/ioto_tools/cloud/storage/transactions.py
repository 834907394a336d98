"""A site's interface to its database: reads, writes and deferred writes, the same for SQLite and PostgreSQL."""

from . import migrate
from .writer import Writer


class Database:
    """The database behind `transactions` (Sqlite or Postgresql), migrated to the newest tables.

    read() and write() run a function in one transaction. With `threads`, one thread writes for all callers; else each
    caller writes by itself, and deferred writes are done at once. Unavailable if the database does not answer.
    """

    def __init__(self, transactions, threads) -> None:
        self.transactions = transactions
        self._writer = None
        if transactions.read(migrate.revision) != migrate.LATEST:
            transactions.write(migrate.up)
        if threads:
            transactions.served()
            self._writer = Writer(transactions.write)

    def read(self, function, *arguments):
        """Return function(conn, *arguments), which reads from one snapshot."""
        return self.transactions.read(function, *arguments)

    def write(self, function, *arguments):
        """Return function(conn, *arguments) after its changes are on the disk; they are rolled back if it raises.

        There is no other writer at the same time.
        """
        return (self._writer or self.transactions).write(function, *arguments)

    def soft(self, function, key, row) -> None:
        """Defer function(conn, [row, ...]), with the last row of each key, for up to a second; a crash loses these
        rows.
        """
        if self._writer:
            self._writer.soft.add(function, key, row)
        else:
            self.transactions.write(function, [row])

    def tidy(self) -> None:
        """Run the database's periodic maintenance."""
        self.transactions.tidy()

    def close(self) -> None:
        if self._writer:
            self._writer.close()
        self.transactions.close()
