"""A site: its folder, the database and the images, and where time and randomness come from.

    DATA/site.toml     settings.py: a database and a store of images that are elsewhere; else
    DATA/cloud.db      SQLite, with cloud.db-wal and cloud.db-shm beside it while it is in use
    DATA/images/       folder_store.py

Any number of processes may use one site at a time: servers and the command line know of each other through it.
"""

import copy
import math
import os
import time
from pathlib import Path

from ..devices import tokens
from ..http.errors import CloudError, Unavailable
from ..images.folder_store import Store
from ..images.links import Links
from ..rollout import lost_devices
from ..storage import audit, migrate
from ..storage.sqlite import Sqlite
from ..storage.transactions import Database
from . import mark, settings

DATABASE = "cloud.db"


def exposed(folder):
    """What in a site's folder others on this machine may read or write: a sentence each, with what to do.

    The images are no secret of the machine, and nginx must be able to reach them.
    """
    found = []
    secret = [DATABASE, DATABASE + "-wal", DATABASE + "-shm", settings.FILE, mark.FILE]
    for path, bits, wanted in [(folder, 0o066, "700, or 711 where nginx sends the images"), *((folder / name, 0o077, "600") for name in secret)]:
        if path.exists() and path.stat().st_mode & bits:
            found.append("%s can be read by others on this machine: chmod %s" % (path, wanted))
    return found


class Site:
    """The site in the folder `data`. CloudError if there is none, unless it is to be made with `make`.

    `clock` gives Unix seconds, `random_bytes(n)` n bytes that nobody can guess. `threads`: many will use it at once. `copied`: also a
    backup, or a copy that has not ended.
    """

    def __init__(self, data, make=False, clock=time.time, random_bytes=os.urandom, threads=False, copied=False):
        self.data = Path(data)
        self.clock = clock
        self.random_bytes = random_bytes
        self.who = audit.CLOUD  # in whose name deeds are written down
        self.scope = None  # of the operator's token; None: whoever has the folder
        self.links = Links(self)
        self.quiet_s = tokens.QUIET_S  # see tokens.refusal()
        self.new_per_hour = 0  # see registration.py; 0: no limit
        self.lost_after_s = lost_devices.AFTER_S
        self.settings = settings.load(self.data)
        if not copied:
            mark.check(self.data)
        self._check(make)
        self.images = self._images()
        transactions = self._transactions()
        try:
            if not make and transactions.read(migrate.revision) is None:
                raise self._nothing()
            self.database = Database(transactions, threads)
        except BaseException as e:
            transactions.close()
            if isinstance(e, Unavailable):
                raise CloudError(str(e)) from e
            raise

    def _check(self, make):
        found = {path.name for path in self.data.iterdir()} if self.data.is_dir() else set()
        if found & {DATABASE, settings.FILE}:
            return
        if not make:
            raise self._nothing()
        if found:
            raise CloudError("%s holds other files and no site: choose an empty or new folder with --data" % self.data)
        try:
            self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as e:
            raise CloudError("%s cannot be made: %s" % (self.data, e.strerror)) from e

    def _images(self):
        folder, said = self.data / "images", self.settings["images"]
        if not said:
            return Store(folder)
        from ..images import s3  # takes a while to load as well

        return s3.S3(folder, settings.checked(self.data / settings.FILE, "images.", said, s3.SETTINGS))

    def _transactions(self):
        if not self.settings["database"]:
            return Sqlite(self.data / DATABASE)
        from ..storage.postgresql import Postgresql  # asyncpg takes a while to load

        return Postgresql(self.settings["database"])

    def _nothing(self):
        return CloudError("%s holds no site: `ioto product new` makes one, or name its folder with --data" % self.data)

    def now_s(self):
        return int(self.clock())

    def moment_s(self):
        """Now, rounded up: what happens now is no earlier than that."""
        return math.ceil(self.clock())

    def acting(self, who, scope):
        """The same site, in the name of an operator whose token has this scope."""
        found = copy.copy(self)
        found.who, found.scope = who, scope
        return found

    def close(self):
        self.database.close()
