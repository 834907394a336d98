"""A site: its folder, database and images, and its sources of time and randomness.

    DATA/site.toml     settings.py: a database and an image store elsewhere; otherwise:
    DATA/cloud.db      SQLite, with cloud.db-wal and cloud.db-shm while it is in use
    DATA/images/       folder_store.py

Any number of processes (servers and commands) may use a site at the same time: they see each other's changes in its
database.
"""

import copy
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..devices import tokens
from ..http.errors import CloudError, Unavailable
from ..images.folder_store import FolderStore
from ..images.links import Links
from ..rollout import lost_devices
from ..storage import audit, migrate
from ..storage.sqlite import Sqlite
from ..storage.transactions import Database
from . import copy_mark, settings

if TYPE_CHECKING:
    from ..images.s3 import S3Images
    from ..storage.transactions import Transactions

DATABASE = "cloud.db"


def exposed(folder: Path) -> list[str]:
    """A sentence, with the remedy, for each file of a site that other users of this machine can read or write.

    Images are not secret on this machine, and nginx must be able to read them.
    """
    found = []
    secret = [DATABASE, DATABASE + "-wal", DATABASE + "-shm", settings.FILE, copy_mark.FILE]
    for path, bits, wanted in [
        (folder, 0o066, "700, or 711 if nginx sends the images"),
        *((folder / name, 0o077, "600") for name in secret),
    ]:
        if path.exists() and path.stat().st_mode & bits:
            found.append("%s is accessible to other users of this machine: chmod %s" % (path, wanted))
    return found


class Site:
    """The site in the folder `data`. CloudError if there is none; `make`: create it instead.

    `clock` returns Unix seconds, `random_bytes(n)` n unpredictable bytes. `threads`: several threads use it at once.
    `copied`: also accept a backup or an incomplete copy.
    """

    def __init__(
        self,
        data: str | Path,
        make: bool = False,
        clock: Callable[[], float] = time.time,
        random_bytes: Callable[[int], bytes] = os.urandom,
        threads: bool = False,
        copied: bool = False,
    ) -> None:
        self.data = Path(data)
        self.clock = clock
        self.random_bytes = random_bytes
        self.who = audit.CLOUD  # for the audit log
        self.scope: str | None = None  # of the operator's token; None: access through the folder
        self.links = Links(self)
        self.quiet_s = tokens.QUIET_S  # see tokens.registration_refusal()
        self.new_per_hour = 0  # maximum number of new devices of a product in an hour, see registration.py; 0: no limit
        self.lost_after_s = lost_devices.AFTER_S
        self.settings = settings.load(self.data)
        if not copied:
            copy_mark.check(self.data)
        self._check_folder(make)
        self.images = self._open_images()
        transactions = self._open_transactions()
        try:
            if not make and transactions.read(migrate.revision) is None:
                raise self._no_site_error()
            self.database = Database(transactions, threads)
        except BaseException as e:
            transactions.close()
            if isinstance(e, Unavailable):
                raise CloudError(str(e)) from e
            raise

    def _check_folder(self, make: bool) -> None:
        found = {path.name for path in self.data.iterdir()} if self.data.is_dir() else set()
        if found & {DATABASE, settings.FILE}:
            return
        if not make:
            raise self._no_site_error()
        if found:
            raise CloudError(
                "%s contains other files, but no site: choose a new or empty folder with --data" % self.data
            )
        try:
            self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as e:
            raise CloudError("%s cannot be created: %s" % (self.data, e.strerror)) from e

    def _open_images(self) -> "FolderStore | S3Images":
        folder, given = self.data / "images", self.settings["images"]
        if not given:
            return FolderStore(folder)
        from ..images import s3  # slow to import

        return s3.S3Images(folder, settings.checked(self.data / settings.FILE, "images.", given, s3.SETTINGS))

    def _open_transactions(self) -> "Transactions":
        if not self.settings["database"]:
            return Sqlite(self.data / DATABASE)
        from ..storage.postgresql import Postgresql  # asyncpg is slow to import

        return Postgresql(self.settings["database"])

    def _no_site_error(self) -> CloudError:
        return CloudError(
            "%s contains no site: create one with `ioto product new`, or choose its folder with --data" % self.data
        )

    def now_s(self) -> int:
        return int(self.clock())

    def now_rounded_up_s(self) -> int:
        """The time now, rounded up to a whole second."""
        return math.ceil(self.clock())

    def acting(self, who: str, scope: str, products: frozenset[str] | None = None) -> "Site":
        """The same site, acting for the operator `who`, whose token has this scope.

        `products`: the ids of the only products that it shows and changes; None: all.
        """
        found = copy.copy(self)
        found.who, found.scope, found.database = who, scope, self.database.limited(products)
        return found

    def close(self) -> None:
        self.database.close()
