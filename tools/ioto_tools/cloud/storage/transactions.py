"""What a site asks of its database: to read, to write, to write soon. The same with SQLite and with PostgreSQL."""

from . import migrate
from .writer import Writer


class Database:
    """`transactions` are a database's: read(function, *arguments), write(function, *arguments) in one each, served() and close().

    It is brought to the newest tables. With `threads` one thread writes for all, else each caller by itself, and everything is
    done when a call returns. Unavailable when the database does not answer.
    """

    def __init__(self, transactions, threads):
        self.transactions = transactions
        self._writer = None
        if transactions.read(migrate.revision) != migrate.LATEST:
            transactions.write(migrate.up)
        if threads:
            transactions.served()
            self._writer = Writer(transactions.write)

    def read(self, function, *arguments):
        """What function(conn, *arguments) returns; all that it reads is of one moment."""
        return self.transactions.read(function, *arguments)

    def write(self, function, *arguments):
        """What function(conn, *arguments) returns, once its changes are on the disk; they are undone when it raises.

        Nobody else writes meanwhile.
        """
        return (self._writer or self.transactions).write(function, *arguments)

    def soft(self, function, key, row):
        """function(conn, [row, ...]) soon, with the last row of each key: for what may be lost in a crash, a second's worth."""
        if self._writer:
            self._writer.soft.add(function, key, row)
        else:
            self.transactions.write(function, [row])

    def tidy(self):
        """What the database wants to have done now and then."""
        self.transactions.tidy()

    def close(self):
        if self._writer:
            self._writer.close()
        self.transactions.close()
