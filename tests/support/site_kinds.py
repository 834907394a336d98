"""The two kinds of site, in a folder or on servers, and how a test inspects and damages each."""

import sqlite3
from contextlib import contextmanager

import obstore
import sqlalchemy as sa
from ioto_tools.cloud.storage.tables import metadata


class InFolder:
    def settings(self):
        """The content of site.toml for a new site."""
        return ""

    def kept(self, site):
        """The content of all files of the site as bytes."""
        return b"".join(path.read_bytes() for path in site.data.rglob("*") if path.is_file())

    def images(self, site):
        """Names of the images, and of all other files in their folder."""
        return sorted(path.name for path in site.images.folder.rglob("*") if path.is_file())

    def spoil(self, site, checksum, content):
        """Replace an image's content; delete the image if `content` is None."""
        path = site.images.path(checksum)
        path.unlink() if content is None else path.write_bytes(content)

    @contextmanager
    def away(self, site):
        """Make the database unavailable: another connection locks it."""
        with site.database.transactions.writing.connect() as conn:
            conn.exec_driver_sql("PRAGMA busy_timeout=0")  # the pool will use this connection for the next transaction
            conn.rollback()
        other = sqlite3.connect(site.data / "cloud.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")
            other.close()


class OnServers:
    """`links`: whether devices download images from the store itself, or through the cloud."""

    def __init__(self, postgresql, s3, links=True):
        self.postgresql = postgresql
        self.s3 = s3
        self.links = links

    def settings(self):
        return 'database = "%s"\n%s' % (self.postgresql.database(), self.s3.settings(links=self.links))

    def kept(self, site):
        """The content of the database as bytes."""
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
        """Make the database unavailable: the server closes all connections and accepts no new ones."""
        self.postgresql.shut(site.settings["database"])
        try:
            yield
        finally:
            self.postgresql.open(site.settings["database"])


def _everything(conn):
    return repr([conn.execute(sa.select(table)).all() for table in metadata.sorted_tables])
