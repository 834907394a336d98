"""The two kinds of site: everything in the folder, or on servers. What tests do to a site behind its back, for
either.
"""

import sqlite3
from contextlib import contextmanager

import obstore
import sqlalchemy as sa
from ioto_tools.cloud.storage.tables import metadata


class InFolder:
    def settings(self):
        """The site.toml of one more site."""
        return ""

    def kept(self, site):
        """Every byte of the database, or as good."""
        return b"".join(path.read_bytes() for path in site.data.rglob("*") if path.is_file())

    def images(self, site):
        """Names of the images, and of what else lies among them."""
        return sorted(path.name for path in site.images.folder.rglob("*") if path.is_file())

    def spoil(self, site, checksum, content):
        """An image is something else, or with None lost."""
        path = site.images.path(checksum)
        path.unlink() if content is None else path.write_bytes(content)

    @contextmanager
    def away(self, site):
        """The database does not answer: another holds it for longer than anybody waits."""
        with site.database.transactions.writing.connect() as conn:
            conn.exec_driver_sql("PRAGMA busy_timeout=0")  # the pool hands this connection out next
            conn.rollback()
        other = sqlite3.connect(site.data / "cloud.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")
            other.close()


class OnServers:
    """`links`: devices are sent to the store itself; without, they get images through the cloud."""

    def __init__(self, postgresql, s3, links=True):
        self.postgresql = postgresql
        self.s3 = s3
        self.links = links

    def settings(self):
        return 'database = "%s"\n%s' % (self.postgresql.database(), self.s3.settings(links=self.links))

    def kept(self, site):
        return site.database.read(_everything).encode()

    def images(self, site):
        left = [path.name for path in site.images.folder.rglob("*")]
        return sorted(
            left + [found["path"].rpartition("/")[2] for page in obstore.list(site.images._reading) for found in page]
        )

    def spoil(self, site, checksum, content):
        name = site.images.name(checksum)
        obstore.delete(site.images._writing, name) if content is None else obstore.put(
            site.images._writing, name, content
        )

    @contextmanager
    def away(self, site):
        """The database takes no connections, and those it had are cut."""
        self.postgresql.shut(site.settings["database"])
        try:
            yield
        finally:
            self.postgresql.open(site.settings["database"])


def _everything(conn):
    return repr([conn.execute(sa.select(table)).all() for table in metadata.sorted_tables])
