"""Devices as a worker holds them in memory: what their token opens, and what they have. A hint for everything but the token:
what is granted or changed is decided by the database again.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

import sqlalchemy as sa
from ioto import semver

from . import grants
from .rollout import after
from .tables import devices, tokens
from .tokens import settled

MOST = 100_000


@dataclass(slots=True)
class Known:
    """A device by one of its tokens."""

    id: str
    product: str
    removed: bool
    claimed: bool
    settled: bool  # nothing follows from a use of the token (tokens.py)
    pin: tuple | None  # as semver.parse() gives it
    grants: dict = field(default_factory=dict)
    last: tuple | None = None  # (release, its version, the version it was to replace) of the last offer, parsed

    def hold(self, held):
        """`held` is what the device has: {release: Grant}."""
        self.grants, self.last = held, None
        if held:
            release = max(held, key=lambda each: held[each].offered_s)
            self.last = release, semver.parse(held[release].version), semver.parse(held[release].before)


def load(conn, hash):
    """The device whose token has this hash, or None."""
    columns = devices.c.id, devices.c.product, devices.c.removed_s, devices.c.claimed, devices.c.pin
    found = sa.select(*columns).join(tokens, tokens.c.device == devices.c.id).where(tokens.c.hash == hash)
    row = conn.execute(found).first()
    if row is None:
        return None
    pin = row.pin and semver.parse(row.pin)
    known = Known(row.id, row.product, row.removed_s is not None, row.claimed, settled(conn, hash), pin)
    known.hold(grants.of(conn, row.id))
    return known


def noticed(known, order):
    """What a check-in with the version `order` (parsed) tells about the last offer: "runs", "returns" or None."""
    if known.last is None or order is None:
        return None
    release, offered, before = known.last
    state = known.grants[release].state
    if order == offered:
        return "runs" if after(state, "runs") else None
    back = order == before or order < offered
    return "returns" if back and after(state, "returns") else None


class Devices:
    """{hash of a token: Known}, the MOST that were asked for last."""

    def __init__(self, most=MOST):
        self.most = most
        self._by_hash = OrderedDict()
        self._hashes = {}  # device -> hash; of an older token of it nothing is held

    def __len__(self):
        return len(self._by_hash)

    def get(self, hash):
        known = self._by_hash.get(hash)
        if known is not None:
            self._by_hash.move_to_end(hash)
        return known

    def keep(self, hash, known):
        self.forget(known.id)
        self._by_hash[hash] = known
        self._hashes[known.id] = hash
        if len(self._by_hash) > self.most:
            _, oldest = self._by_hash.popitem(last=False)
            del self._hashes[oldest.id]

    def forget(self, device):
        if hash := self._hashes.pop(device, None):
            del self._by_hash[hash]

    def clear(self):
        self._by_hash.clear()
        self._hashes.clear()
