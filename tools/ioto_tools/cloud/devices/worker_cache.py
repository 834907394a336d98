"""A worker's in-memory cache: the catalogue, devices by token, and releases without free rollout slots.

Used only by the thread that answers requests. It is refreshed with the recorded changes (changes.py) if it is older
than a second.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from ..http.errors import Unavailable
from ..rollout import catalogue
from ..rules.selection import Release
from ..storage import changes
from .device_cache import Devices

LOOK_S = 1
_NOT_FULL = None, 0, 0
Read = Callable[..., Awaitable[Any]]  # read(function, *arguments) reads from the database


class News(NamedTuple):
    """What has changed in the database since a cache was refreshed."""

    seq: int  # number of the last change
    devices: Sequence[str]  # keys of changed devices
    rows: tuple | None  # of catalogue.rows(); None: the catalogue is unchanged


class Memory:
    """`look_s`: its maximum age; 0: refresh at every check-in."""

    def __init__(self, look_s: float = LOOK_S, clock: Callable[[], float] = time.monotonic) -> None:
        self.worker = os.urandom(8).hex()  # owner of the leases
        self.products: dict[str, catalogue.Product] = {}
        self.devices = Devices()
        self._full: dict[str, tuple[str, int, int | None]] = {}  # release -> (why, since_s, until_s)
        self._look_s = look_s
        self._clock = clock
        self._looked: float | None = None
        self.seq: int | None = None  # number of the last change that is included
        self._looking = asyncio.Lock()
        self._vain = 0  # number of failed refreshes

    async def refresh(self, read: Read) -> None:
        """Refresh if older than `look_s`; read(function, ...) reads from the database. Unavailable.

        A request that waits while the refresh of another one fails does not try again: if the database is down, all of
        them would wait for it, one after the other.
        """
        if not self._fresh():
            vain = self._vain
            async with self._looking:
                if self._vain != vain:
                    raise Unavailable("the database did not answer")
                if not self._fresh():
                    await self._look(read)

    def _fresh(self) -> bool:
        return self._looked is not None and self._clock() - self._looked < self._look_s

    async def _look(self, read: Read) -> None:
        now = self._clock()
        if self._looked is not None and now - self._looked > changes.KEPT_S / 2:
            self.seq = None  # changes may have been deleted before they were read
        try:
            seq, devices, found = await read(news, self.seq)
        except (OSError, Unavailable):
            self._vain += 1
            raise
        if self.seq is None:
            self.devices.clear()
        for device in devices:
            self.devices.forget(device)
        if found is not None:
            self.products = catalogue.compiled(*found)
            self._full.clear()
        self.seq, self._looked = seq, now

    def outdated(self) -> None:
        """Mark the cache as outdated: it is refreshed before the next use."""
        self._looked = None

    def has(self, word: str) -> bool:
        """Is there a product with this id or name?"""
        return word in self.products or any(word == product.name for product in self.products.values())

    def full(self, release: str, why: str, now_s: int, until_s: int | None, seq: int | None) -> None:
        """Record that the release, as of the change `seq`, has no slot left, until `until_s` or (None) until it is
        changed.
        """
        if seq == self.seq:  # else the release may have changed meanwhile
            self._full[release] = why, now_s, until_s

    def room(self, now_s: int) -> Callable[[Release], str | None]:
        """The function with which selection.py checks whether a release has a slot for another device."""
        full = self._full

        def room(release: Release) -> str | None:
            why, since_s, until_s = full.get(release.id, _NOT_FULL)
            # Now is before `since_s`: the clock was ahead then, so the entry means nothing.
            return why if until_s is None or since_s <= now_s < until_s else None

        return room


def news(conn: sa.Connection, seq: int | None) -> News:
    """The changes after the change `seq`; None: read everything."""
    if seq is None:
        return News(changes.last(conn), (), catalogue.rows(conn))
    found = changes.since(conn, seq)
    devices = [device for _, device in found if device is not None]
    rows = catalogue.rows(conn) if len(devices) < len(found) else None
    return News(found[-1][0] if found else seq, devices, rows)
