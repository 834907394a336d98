"""What a worker knows without asking the database: the catalogue, devices by their tokens, which releases have no place left.

It belongs to the one thread that answers requests. Once a second it looks for changes (changes.py); nothing in it is older.
"""

import asyncio
import os
import time

from ..http.errors import Unavailable
from ..rollout import catalogue
from ..storage import changes
from .device_cache import Devices

LOOK_S = 1
_NOT_FULL = None, 0, 0


class Memory:
    """`look_s`: how old it may be; 0: it looks at every check-in."""

    def __init__(self, look_s=LOOK_S, clock=time.monotonic):
        self.worker = os.urandom(8).hex()  # whose leases they are
        self.products = {}
        self.devices = Devices()
        self._full = {}  # release -> (why, since when, until when)
        self._look_s = look_s
        self._clock = clock
        self._looked = None
        self.seq = None  # of the last change that it knows of
        self._looking = asyncio.Lock()
        self._vain = 0  # how often it looked in vain

    async def refresh(self, read):
        """Be no older than a second; read(function, ...) asks the database.

        Whoever waits while another looks in vain does not look once more: a database that is away would be waited for by all of
        them, one after the other. Unavailable.
        """
        if not self._fresh():
            vain = self._vain
            async with self._looking:
                if self._vain != vain:
                    raise Unavailable("the database did not answer")
                if not self._fresh():
                    await self._look(read)

    def _fresh(self):
        return self._looked is not None and self._clock() - self._looked < self._look_s

    async def _look(self, read):
        now = self._clock()
        if self._looked is not None and now - self._looked > changes.KEPT_S / 2:
            self.seq = None  # it may have missed some
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

    def outdated(self):
        """What it holds was wrong: look before the next use."""
        self._looked = None

    def has(self, word):
        """Is there a product with this id or name?"""
        return word in self.products or any(word == product.name for product in self.products.values())

    def full(self, release, why, now_s, until_s, seq):
        """The release, as it was after the change `seq`, has no slot left, until then or (None) until it is changed."""
        if seq == self.seq:  # else it may have been changed meanwhile
            self._full[release] = why, now_s, until_s

    def room(self, now_s):
        """The function that selection.py asks whether a release has a place for one more device."""
        full = self._full

        def room(release):
            why, since_s, until_s = full.get(release.id, _NOT_FULL)
            # Before `since_s`: the clock was ahead then, and nothing is known of what is to come.
            return why if until_s is None or since_s <= now_s < until_s else None

        return room


def news(conn, seq):
    """(number of the last change, devices that changed after `seq`, catalogue.rows() if that did); seq None: from scratch."""
    if seq is None:
        return changes.last(conn), (), catalogue.rows(conn)
    found = changes.since(conn, seq)
    devices = [device for _, device in found if device is not None]
    return found[-1][0] if found else seq, devices, catalogue.rows(conn) if len(devices) < len(found) else None
