"""A worker's in-memory cache: the catalogue, devices by token, and releases without free rollout slots.

Only the thread that answers requests uses it. It is refreshed from the recorded changes (change_log.py) when it is
older than a second.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from ..http.errors import Unavailable
from ..rollout import catalogue, stage_gates
from ..rules import stages
from ..rules.selection import ACTIVE, Release, Room
from ..storage import change_log
from .device_cache import DeviceCache

REFRESH_S = 1
_NOT_FULL = None, 0, 0
Read = Callable[..., Awaitable[Any]]  # read(function, *arguments) reads from the database


class Changes(NamedTuple):
    """What has changed in the database since the last refresh."""

    seq: int  # number of the last change
    devices: Sequence[str]  # keys of changed devices
    rows: tuple | None  # of catalogue.rows(); None: the catalogue is unchanged


class WorkerCache:
    """The cache of one worker. `look_s`: its maximum age; 0: refresh at every check-in."""

    def __init__(self, look_s: float = REFRESH_S, clock: Callable[[], float] = time.monotonic) -> None:
        self.worker = os.urandom(8).hex()  # owner of the leases
        self.products: dict[str, catalogue.Product] = {}
        self.devices = DeviceCache()
        self._full: dict[str, tuple[str, int, int | None]] = {}  # release -> (why, since_s, until_s)
        self._stages: dict[str, tuple[int, int]] = {}  # release -> (when its stage began, when its time is over)
        self._judged: dict[str, int] = {}  # release -> when this worker last judged its gate
        self._look_s = look_s
        self._clock = clock
        self._refreshed_s: float | None = None
        self.seq: int | None = None  # number of the last change that is included
        self._lock = asyncio.Lock()
        self._failures = 0  # number of failed refreshes

    async def refresh(self, read: Read) -> None:
        """Refresh the cache if it is older than `look_s`. Raises Unavailable if the database does not answer.

        If a refresh fails, the requests that waited for it fail too. Otherwise each of them would wait for the
        unreachable database, one after the other.
        """
        if not self._is_fresh():
            failures = self._failures
            async with self._lock:
                if self._failures != failures:
                    raise Unavailable("the database did not answer")
                if not self._is_fresh():
                    await self._load(read)

    def _is_fresh(self) -> bool:
        return self._refreshed_s is not None and self._clock() - self._refreshed_s < self._look_s

    async def _load(self, read: Read) -> None:
        now = self._clock()
        if self._refreshed_s is not None and now - self._refreshed_s > change_log.KEPT_S / 2:
            self.seq = None  # changes may have been deleted before they were read
        try:
            seq, devices, found = await read(read_changes, self.seq)
        except (OSError, Unavailable):
            self._failures += 1
            raise
        if self.seq is None:
            self.devices.clear()
        for device in devices:
            self.devices.forget(device)
        if found is not None:
            self.products = catalogue.compiled(*found)
            self._full.clear()
            self._stages = {
                release.id: (release.stage_s or 0, release.stage_due_s)
                for product in self.products.values()
                for release in product.releases
                if release.stage_due_s is not None and release.enabled and release.state == ACTIVE
            }
            self._judged = {id: at_s for id, at_s in self._judged.items() if id in self._stages}
        self.seq, self._refreshed_s = seq, now

    def invalidate(self) -> None:
        """Mark the cache as outdated: the next refresh() reads the changes."""
        self._refreshed_s = None

    def has_product(self, word: str) -> bool:
        """Is there a product with this id or name?"""
        return word in self.products or any(word == product.name for product in self.products.values())

    def stages_to_judge(self, now_s: int) -> list[str]:
        """The releases whose stage's time is over. Each is returned at most once in stage_gates.EVERY_S."""
        found = [
            id
            for id, (stage_s, due_s) in self._stages.items()
            if (now_s >= due_s or stages.is_ahead(stage_s, now_s))
            # If the last time is after `now_s`, the clock was ahead.
            and not (id in self._judged and 0 <= now_s - self._judged[id] < stage_gates.EVERY_S)
        ]
        self._judged.update(dict.fromkeys(found, now_s))
        return found

    def mark_full(self, release: str, why: str, now_s: int, until_s: int | None, seq: int | None) -> None:
        """Record that the release has no free slot until `until_s`; None: until the release is changed.

        `seq`: the last change that was known when the slots were counted.
        """
        if seq == self.seq:  # else the release may have changed meanwhile
            self._full[release] = why, now_s, until_s

    def slot_check(self, now_s: int) -> Room:
        """Return the room() function for selection.py: does a release have a slot for another device?"""
        full = self._full

        def room(release: Release) -> str | None:
            why, since_s, until_s = full.get(release.id, _NOT_FULL)
            # If `now_s` is before `since_s`, the clock was ahead at `since_s`, and the entry is invalid.
            return why if until_s is None or since_s <= now_s < until_s else None

        return room


def read_changes(conn: sa.Connection, seq: int | None) -> Changes:
    """The changes after the change `seq`; if it is None, the number of the last change and the whole catalogue."""
    if seq is None:
        return Changes(change_log.last(conn), (), catalogue.rows(conn))
    found = change_log.since(conn, seq)
    devices = [device for _, device in found if device is not None]
    rows = catalogue.rows(conn) if len(devices) < len(found) else None
    return Changes(found[-1][0] if found else seq, devices, rows)
