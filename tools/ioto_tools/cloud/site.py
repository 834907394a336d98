"""A site: the folder with the database and the images, and where time and randomness come from.

    DATA/cloud.db      SQLite, with cloud.db-wal and cloud.db-shm beside it while it is in use
    DATA/images/       store.py

Any number of processes may use one folder at a time: the server and the command line know of each other through it.
"""

import copy
import os
import time
from pathlib import Path

import sqlalchemy as sa

from . import audit, tokens
from .links import Links
from .refusal import CloudError
from .sqlite import Sqlite
from .store import Store

DATABASE = "cloud.db"


class Site:
    """The site in the folder `data`. CloudError if there is none, unless it is to be made with `make`.

    `clock` gives Unix seconds, `random_bytes(n)` n bytes that nobody can guess.
    """

    def __init__(self, data, make=False, clock=time.time, random_bytes=os.urandom):
        self.data = Path(data)
        self.clock = clock
        self.random_bytes = random_bytes
        self.who = audit.CLOUD  # in whose name deeds are written down
        self.links = Links(self)
        self.quiet_s = tokens.QUIET_S  # see tokens.may_register()
        self._check(make)
        self.images = Store(self.data / "images")
        try:
            self.database = Sqlite(self.data / DATABASE)
        except sa.exc.DatabaseError as e:
            raise CloudError("%s: %s" % (self.data / DATABASE, e.orig)) from e

    def _check(self, make):
        found = {path.name for path in self.data.iterdir()} if self.data.is_dir() else set()
        if DATABASE in found:
            return
        if not make:
            raise CloudError("%s holds no site: `ioto product new` makes one, or name its folder with --data" % self.data)
        if found:
            raise CloudError("%s holds other files and no site: choose an empty or new folder with --data" % self.data)
        try:
            self.data.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise CloudError("%s cannot be made: %s" % (self.data, e.strerror)) from e

    def now_s(self):
        return int(self.clock())

    def acting(self, who):
        """The same site, in somebody's name."""
        found = copy.copy(self)
        found.who = who
        return found

    def close(self):
        self.database.close()
