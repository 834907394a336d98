"""Per-worker device cache, authoritative only for tokens.

Everything else is checked again in the database before a grant or another change is stored.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

import sqlalchemy as sa
from ioto import semver

from ..rollout import grants
from ..rollout.shared_ids import SLACK_S
from ..rules.selection import Grant
from ..rules.update_states import CLOCK_TOLERANCE_S, SUPERSEDED, UNAPPLIED, next_state
from ..storage import queries
from ..storage.tables import devices, tokens
from .tokens import SEVERAL, is_cacheable

MOST = 100_000
_START_TOLERANCE_S = 10  # a board's start time is not exact
_COLUMNS = (
    "key",
    "id",
    "product",
    "removed_s",
    "claimed",
    "pin",
    "vouched",
    "first_s",
    "version",
    "booted_s",
    "shared_s",
)


@dataclass(slots=True)
class CachedDevice:
    """A cached device, found by one of its tokens."""

    key: str  # its key in the database
    id: str  # the id that it sends
    product: str
    removed: bool
    claimed: bool
    is_cacheable: bool  # using the token has no side effects (tokens.py)
    pin: tuple | None  # as returned by semver.parse()
    since_s: int = 0  # its first registration; 0: an operator created or claimed it
    ran: tuple | None = None  # the version of the previous check-in, parsed
    booted_s: int | None = None  # its start time, as of the previous check-in
    shared: bool = False  # several boards use its id
    grants: dict[str, Grant] = field(default_factory=dict)
    # The last offer: (release, its version, the version that it replaces); both versions are parsed.
    last: tuple[str, tuple, tuple] | None = None

    def unapplied_release(self) -> str | None:
        """The release that the device was offered and may still apply, or None. There is at most one."""
        return next((release for release, grant in self.grants.items() if grant.state in UNAPPLIED), None)

    def superseded_releases(self) -> list[str]:
        """The releases that a newer offer has superseded; the device still occupies their rollout slots."""
        return [release for release, grant in self.grants.items() if grant.state == SUPERSEDED]

    def set_grants(self, held: dict[str, Grant]) -> None:
        """Set the device's grants to `held`: {release: Grant}."""
        self.grants, self.last = held, None
        if held:
            release = max(held, key=lambda each: held[each].offered_s)
            self.last = release, semver.parse(held[release].version), semver.parse(held[release].before)


_LOADED = sa.select(*(devices.c[name] for name in _COLUMNS), tokens, SEVERAL).join(
    devices, devices.c.key == tokens.c.device
)
_LOADED = _LOADED.where(tokens.c.ended_s.is_(None))


def load_devices(conn: sa.Connection, hashes: list[str]) -> list[CachedDevice | None]:
    """The device of each of the tokens with these hashes, or None."""
    rows = conn.execute(_LOADED.where(queries.among(conn, tokens.c.hash, hashes))).mappings().all()
    held = grants.of_devices(conn, [row["key"] for row in rows])
    found = {row["hash"]: _cached(conn, row, held.get(row["key"], {})) for row in rows}
    return [found.get(hash) for hash in hashes]


def _cached(conn: sa.Connection, row: sa.RowMapping, held: grants.Held) -> CachedDevice:
    """The device of a row of _LOADED, with its grants."""
    runs, pin = row["version"], row["pin"]
    known = CachedDevice(
        key=row["key"],
        id=row["id"],
        product=row["product"],
        removed=row["removed_s"] is not None,
        claimed=row["claimed"],
        is_cacheable=is_cacheable(conn, row),
        pin=pin and semver.parse(pin),
        since_s=0 if row["vouched"] else row["first_s"],
        ran=semver.parse(runs) if runs and semver.is_valid(runs) else None,
        booted_s=row["booted_s"],
        shared=row["shared_s"] is not None,
    )
    known.set_grants(held)
    return known


def interpret_check_in(
    known: CachedDevice, order: tuple | None, booted_s: int | None, now_s: int, staged: str | None = None
) -> tuple[str | None, str | None]:
    """Interpret a check-in: return (event about the last offer or None, sign of another board or None).

    `order`: the version in the check-in, parsed. `booted_s`: the board's start time, None if it was not sent. `staged`:
    the update that is staged on the board, or None. Stores the version and the start time for the next call.

    Events:

        runs      the board runs the offered version
        returns   the board runs the old version again
        again     like `returns`, but the update is still staged: its trial was interrupted, and the board tries again
        doubt     the board may run the old version again: the next check-in decides

    The signs are explained in shared_ids.py.
    """
    ran, known.ran = known.ran, order
    started_s, known.booted_s = known.booted_s, booted_s
    sign = "start" if booted_s is not None and started_s is not None and booted_s < started_s - SLACK_S else None
    if known.last is None or order is None:
        return None, _unless_shared(known, sign)
    release, offered, before = known.last
    grant = known.grants[release]
    # A board must restart to run another version, so a board that started before the grant's last change is another
    # board. If the time of this change is in the future, a clock was ahead when it was recorded: ignore it.
    started = booted_s is not None and (
        booted_s >= grant.changed_s - _START_TOLERANCE_S or grant.changed_s > now_s + CLOCK_TOLERANCE_S
    )
    if order == offered:
        another = grant.state == "reverted" and not started
        return "runs" if next_state(grant.state, "runs") else None, _unless_shared(
            known, "version" if another else sign
        )
    if known.shared or order != before and not order < offered or not next_state(grant.state, "returns"):
        return None, _unless_shared(known, sign)
    # Two boards with one id report the two versions in turn. A single board that runs the old version again reports
    # that version twice in a row. If boards send no start time, this is the only way to distinguish the two cases.
    if started or booted_s is None and ran == order:
        return "again" if staged == release else "returns", sign
    return "doubt", sign or (None if booted_s is None else "start")


def _unless_shared(known: CachedDevice, sign: str | None) -> str | None:
    """Return `sign`, or None if the id is already marked as shared by several boards."""
    return None if known.shared else sign


class DeviceCache:
    """LRU cache of at most `most` devices: {hash of a token: CachedDevice}."""

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self._by_hash: OrderedDict[str, CachedDevice] = OrderedDict()
        self._hashes: dict[str, str] = {}  # key of a device -> hash; only one token of a device is cached

    def __len__(self) -> int:
        return len(self._by_hash)

    def get(self, hash: str) -> CachedDevice | None:
        known = self._by_hash.get(hash)
        if known is not None:
            self._by_hash.move_to_end(hash)
        return known

    def put(self, hash: str, known: CachedDevice) -> None:
        self.forget(known.key)
        self._by_hash[hash] = known
        self._hashes[known.key] = hash
        if len(self._by_hash) > self.most:
            _, oldest = self._by_hash.popitem(last=False)
            del self._hashes[oldest.key]

    def forget(self, device: str) -> None:
        """Remove the device with this key, if it is cached."""
        if hash := self._hashes.pop(device, None):
            del self._by_hash[hash]

    def clear(self) -> None:
        self._by_hash.clear()
        self._hashes.clear()
