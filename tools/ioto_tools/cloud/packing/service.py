"""The part of `ioto cloud serve` that makes packed files: a thread that starts a process while there is work.

The process has a low priority. While no file waits, there is only the thread, which reads the database every second.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import sqlalchemy as sa

from ..http.errors import CloudError, Unavailable
from ..http.json_log import log_to_stderr
from ..http.workers import Worker
from ..site.site import Site
from ..storage import change_log, queries
from ..storage.tables import packers
from . import making, plan

EVERY_S = 1
PLAN_S = 3600  # how often files are planned anew: devices have come to run other images
_RUNNING_S = 120  # a server that is killed counts as running for this long
_RENEW_S = 30
_AGAIN_S = 30  # until another attempt, if a process failed, the site can't be opened, or nothing was to be planned
_NICE = 10
_log = logging.getLogger("ioto.cloud")


class Service:
    """Makes the packed files of the site in `data` until the end of the `with` block; start() begins it.

    said(text) is called when a process has failed.
    """

    def __init__(self, data: str | Path, said: Callable[[str], None], json_log: bool = False) -> None:
        self.data = data
        self.json_log = json_log
        self.said = said
        self._server = os.urandom(8).hex()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._worker: Worker | None = None
        self._seq: int | None = None  # number of the last change that was looked at
        self._renewed_at = self._planned_at = self._failed_at = self._looked_at = float("-inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.set()
        if self._thread.ident is not None:
            self._thread.join()

    def start(self) -> None:
        self._planned_at = time.monotonic()
        self._thread.start()

    def _run(self) -> None:
        site = self._open()
        if site is None:
            return
        try:
            while not self._ends.wait(EVERY_S):
                self._try(lambda: self._look(site))
        finally:
            if self._worker is not None:
                self._worker.stop()
                self._worker.end()
            self._try(lambda: site.database.write(_end, self._server))
            site.close()

    def _open(self) -> Site | None:
        """Open the site, as soon as this is possible; None if the server ends before."""
        while not self._ends.is_set():
            try:
                return Site(self.data)
            except (CloudError, OSError, Unavailable) as e:
                _log.error("packed files: %s", e)
                self._ends.wait(_AGAIN_S)
        return None

    def _try(self, work: Callable[[], object]) -> None:
        try:
            work()
        except (OSError, Unavailable) as e:
            _log.error("packed files: %s", e)

    def _look(self, site: Site) -> None:
        now = time.monotonic()
        if now - self._renewed_at >= _RENEW_S:
            site.database.write(_renew, self._server, site.now_s() + _RUNNING_S)
            self._renewed_at = now
        if self._worker is not None:
            if self._worker.is_alive():
                return
            if self._worker.has_failed():
                self.said("packed files: " + self._worker.describe_end())
                self._failed_at = now
                self._seq = None  # it may have planned nothing
            self._worker = None
        if now - self._failed_at < _AGAIN_S:
            return
        anew = now - self._planned_at >= PLAN_S
        if anew or site.database.read(self._has_work, site.now_s()):
            if anew:
                self._planned_at = now
            self._worker = Worker(_work, (self.data, self.json_log, anew))
            self._worker.start()

    def _has_work(self, conn: sa.Connection, now_s: int) -> bool:
        if making.is_waiting(conn, now_s):
            return True
        last, now = change_log.last(conn), time.monotonic()
        # That a first device accepts packed files is no change in the log.
        if last == self._seq and now - self._looked_at < _AGAIN_S:
            return False
        self._seq, self._looked_at = last, now
        return plan.is_due(conn)


def _renew(conn: sa.Connection, server: str, until_s: int) -> None:
    row = queries.upsert(conn, packers).values(server=server, until_s=until_s)
    conn.execute(row.on_conflict_do_update(index_elements=[packers.c.server], set_={"until_s": until_s}))
    conn.execute(packers.delete().where(packers.c.until_s < until_s - 2 * _RUNNING_S))


def _end(conn: sa.Connection, server: str) -> None:
    conn.execute(packers.delete().where(packers.c.server == server))


def _work(ready: Callable[[], None], data: str | Path, json_log: bool, anew: bool) -> None:
    """Plan, for all products if `anew`, and make all files that wait; in a process of its own."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.nice(_NICE)
    log_to_stderr(json_log)
    site = Site(data)
    try:
        if anew:
            plan.apply_all(site)
        plan.restore_lost(site)
        make_all(site)
    except (OSError, Unavailable) as e:
        raise CloudError("packed files: %s" % e) from e
    finally:
        site.close()


def make_all(site: Site) -> None:
    """Make all files that wait, also those of releases that are published meanwhile."""
    while True:
        if site.database.read(plan.is_due):
            plan.apply_due(site)
        if not making.make_next(site):
            return
