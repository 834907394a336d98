"""Devices as a worker holds them in memory: what their token opens, and what they have. A hint for everything but the token:
what is granted or changed is decided by the database again.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

import sqlalchemy as sa
from ioto import semver

from ..rollout import grants
from ..rollout.identity import SLACK_S
from ..rules.update_states import AHEAD_S, SUPERSEDED, UNAPPLIED, after
from ..storage.tables import devices, tokens
from .tokens import settled

MOST = 100_000
_SECONDS_OFF = 10  # of a board's start
_COLUMNS = ("key", "id", "product", "removed_s", "claimed", "pin", "vouched", "first_s", "version", "booted_s", "shared_s")


@dataclass(slots=True)
class Known:
    """A device by one of its tokens."""

    key: str  # what the database calls it
    id: str  # what it calls itself
    product: str
    removed: bool
    claimed: bool
    settled: bool  # nothing follows from a use of the token (tokens.py)
    pin: tuple | None  # as semver.parse() gives it
    since_s: int = 0  # its first registration; 0: an operator vouches for it
    ran: tuple | None = None  # the version of the check-in before, parsed
    booted_s: int | None = None  # when it had started then
    shared: bool = False  # several boards speak under its id
    grants: dict = field(default_factory=dict)
    last: tuple | None = None  # (release, its version, the version it was to replace) of the last offer, parsed

    def unapplied(self):
        """The release that the device was offered and may still apply, or None: there is one at the most."""
        return next((release for release, grant in self.grants.items() if grant.state in UNAPPLIED), None)

    def passed_over(self):
        """The releases that the device was offered before a higher one, and whose slots it still has."""
        return [release for release, grant in self.grants.items() if grant.state == SUPERSEDED]

    def hold(self, held):
        """`held` is what the device has: {release: Grant}."""
        self.grants, self.last = held, None
        if held:
            release = max(held, key=lambda each: held[each].offered_s)
            self.last = release, semver.parse(held[release].version), semver.parse(held[release].before)


def load(conn, hash):
    """The device whose token has this hash, or None."""
    columns = [devices.c[name] for name in _COLUMNS]
    found = sa.select(*columns).join(tokens, tokens.c.device == devices.c.key).where(tokens.c.hash == hash, tokens.c.ended_s.is_(None))
    row = conn.execute(found).first()
    if row is None:
        return None
    pin = row.pin and semver.parse(row.pin)
    since_s = 0 if row.vouched else row.first_s
    ran = semver.parse(row.version) if row.version and semver.is_valid(row.version) else None
    known = Known(row.key, row.id, row.product, row.removed_s is not None, row.claimed, settled(conn, hash), pin, since_s, ran, row.booted_s, row.shared_s is not None)
    known.hold(grants.of(conn, row.key))
    return known


def noticed(known, order, booted_s, now_s, staged=None):
    """What a check-in with the version `order` (parsed) tells of a board that started at `booted_s` (None: it does not say).

    (event, sign): of the last offer "runs", "returns", "again" (it is back at the old version and still holds the update `staged`: its
    trial was cut off, and it tries again by itself), "doubt" (it may have gone back to the old version: the next check-in tells) or
    None; a sign of another board (identity.py) or None. The version and start of the check-in before are replaced by these.
    """
    ran, known.ran = known.ran, order
    started_s, known.booted_s = known.booted_s, booted_s
    sign = "start" if booted_s is not None and started_s is not None and booted_s < started_s - SLACK_S else None
    if known.last is None or order is None:
        return None, _of(known, sign)
    release, offered, before = known.last
    grant = known.grants[release]
    # It takes a start to run another version: a board that has run since before is another one.
    # A change that is still to come was noted by a clock that was ahead.
    started = booted_s is not None and (booted_s >= grant.changed_s - _SECONDS_OFF or grant.changed_s > now_s + AHEAD_S)
    if order == offered:
        another = grant.state == "reverted" and not started
        return "runs" if after(grant.state, "runs") else None, _of(known, "version" if another else sign)
    if known.shared or order != before and not order < offered or not after(grant.state, "returns"):
        return None, _of(known, sign)
    # Two boards with one id tell one version and the other in turn. One that went back, and does not say when it started, tells it twice.
    if started or booted_s is None and ran == order:
        return "again" if staged == release else "returns", sign
    return "doubt", sign or (None if booted_s is None else "start")


def _of(known, sign):
    return None if known.shared else sign


class Devices:
    """{hash of a token: Known}, the MOST that were asked for last."""

    def __init__(self, most=MOST):
        self.most = most
        self._by_hash = OrderedDict()
        self._hashes = {}  # key of a device -> hash; of an older token of it nothing is held

    def __len__(self):
        return len(self._by_hash)

    def get(self, hash):
        known = self._by_hash.get(hash)
        if known is not None:
            self._by_hash.move_to_end(hash)
        return known

    def keep(self, hash, known):
        self.forget(known.key)
        self._by_hash[hash] = known
        self._hashes[known.key] = hash
        if len(self._by_hash) > self.most:
            _, oldest = self._by_hash.popitem(last=False)
            del self._hashes[oldest.key]

    def forget(self, device):
        if hash := self._hashes.pop(device, None):
            del self._by_hash[hash]

    def clear(self):
        self._by_hash.clear()
        self._hashes.clear()
