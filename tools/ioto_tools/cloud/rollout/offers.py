"""Offers releases to devices. Offers that wait at the same time are stored in one transaction."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from ..rules import update_states
from ..rules.selection import Grant
from ..rules.update_states import OPEN, WITHDRAWN
from ..storage import change_log, group_commit
from ..storage.tables import AnyRow, Row, grants
from . import leases, lifecycle, state_changes
from .grants import Held, of_devices

_Rows = dict[str, AnyRow]  # the stored grants of a device: {release: row}
_Answers = dict[str, Held | Exception]  # {device: what offer() returns for it}


class Asked(NamedTuple):
    """A device (its key) is to be offered `release`, as its `file` (packed_files.py).

    `version`: the version that it runs. `known`: its grants in the cache of `worker`, which contains the changes up to
    number `seq`. `moment_s()` returns the time, rounded up so that no period of a rate is too short; it is called
    inside the transaction, which may have waited for other writers.
    """

    device: str
    release: str
    file: str | None
    version: str
    known: Held
    worker: str
    seq: int | None
    now_s: int
    moment_s: Callable[[], int]


def offer(conn: sa.Connection, asked: list[Asked]) -> list[Held | Exception]:
    """Offer each device its release, for the first time or again; return the grants of each.

    No-op if the offer is open or not yet due, or if `known` is outdated: another worker may have offered a higher
    release. Supersedes older open offers. Instead of the grants, leases.NoFreeSlot or leases.OutdatedCache is returned.
    """
    answers: list[Held | Exception] = []
    for part in group_commit.split(asked, lambda each: each.device):
        found = _offer(conn, part)
        answers += (found[each.device] for each in part)
    return answers


def _offer(conn: sa.Connection, asked: Sequence[Asked]) -> _Answers:
    """Like offer(), for different devices; {device: grants or exception}."""
    outdated = {seq for seq in {each.seq for each in asked} if change_log.of_releases(conn, seq or 0)}
    active = lifecycle.offered(conn, {each.release for each in asked})
    held: dict[str, _Rows] = {each.device: {} for each in asked}
    for (device, release), row in state_changes.stored(conn, held).items():
        held[device][release] = row
    answers: _Answers = {}
    again: list[Asked] = []
    changes: list[state_changes.Change] = []
    waiting: dict[tuple[str, str], list[Asked]] = {}  # for a slot: {(release, worker): devices}
    for each in asked:
        own = held[each.device]
        grant = own.get(each.release)
        if each.seq in outdated or each.release not in active:
            answers[each.device] = leases.OutdatedCache(each.release)
        elif {release: _grant(row) for release, row in own.items()} != each.known:
            continue
        elif grant is None or grant["state"] == WITHDRAWN:
            waiting.setdefault((each.release, each.worker), []).append(each)
        elif tries := _next_try(grant, each.now_s):
            more = _values(each, own) | {"tries": tries}
            changes.append(state_changes.Change(grant, _offered(grant), each.now_s, more))
            again.append(each)
    for each in [*again, *(each for some in waiting.values() for each in _take_slots(conn, some, held, answers))]:
        changes += _superseded(held[each.device], each)
    state_changes.store(conn, changes)
    found = of_devices(conn, list(held))
    return {device: found.get(device, {}) for device in held} | answers


def _grant(row: AnyRow) -> Grant:
    names = "version", "tries", "attempt", "state", "ended", "offered_s", "changed_s", "retry", "file", "whole"
    return Grant(row["offered"], *(row[name] for name in names))


def _next_try(grant: AnyRow, now_s: int) -> int | None:
    """The number of the next try of a device whose last attempt has ended; None if it is not due."""
    if grant["state"] in OPEN:
        return None
    due = update_states.next_try(grant["state"], grant["tries"], grant["attempt"], grant["changed_s"])
    return None if due is None or update_states.must_wait(due[1], grant["changed_s"], now_s) else due[0]


def _offered(grant: AnyRow) -> str:
    return update_states.TABLE[grant["state"]]["offer"]


def _values(each: Asked, own: _Rows) -> Row:
    """What each offer changes. Its time is now, or a second after the device's last offer if that is later."""
    offered_s = max([each.now_s, *(row["offered_s"] + 1 for row in own.values())])
    return {"attempt": 0, "version": each.version, "offered_s": offered_s, "file": each.file}


def _superseded(own: _Rows, each: Asked) -> list[state_changes.Change]:
    """The changes of the device's other open offers, after a new one."""
    return [
        state_changes.Change(row, update_states.TABLE[row["state"]]["newer"], each.now_s)
        for release, row in own.items()
        if release != each.release and row["state"] in OPEN
    ]


def _take_slots(
    conn: sa.Connection, asked: Sequence[Asked], held: dict[str, _Rows], answers: _Answers
) -> Sequence[Asked]:
    """Grant one release to the devices while it has free slots; return the devices that got a slot.

    Slots are taken before the grants are stored, and grants are stored before more slots are leased: the rate counts
    both.
    """
    left = asked
    while left:
        try:
            # A request that has waited is older than the last grants, which must not seem to be in the future.
            now_s = max(left[0].now_s, left[0].moment_s() - 1)
            n = leases.spend(conn, left[0].release, left[0].worker, len(left), now_s)
        except (leases.NoFreeSlot, leases.OutdatedCache) as e:
            answers |= {each.device: e for each in left}
            break
        _store(conn, left[:n], held)
        left = left[n:]
    return asked[: len(asked) - len(left)]


def _store(conn: sa.Connection, asked: Sequence[Asked], held: dict[str, _Rows]) -> None:
    granted_s = asked[0].moment_s()
    new: list[Row] = []
    changes: list[state_changes.Change] = []
    for each in asked:
        row = _values(each, held[each.device]) | {"granted_s": granted_s}
        grant = held[each.device].get(each.release)
        if grant is None:
            row |= {"device": each.device, "release": each.release, "tries": 1, "state": "offered", "ended": None}
            new.append(row | {"changed_s": each.now_s})
        else:
            row["tries"] = grant["tries"] or 1
            changes.append(state_changes.Change(grant, _offered(grant), each.now_s, row))
    if new:
        conn.execute(grants.insert(), new)
        change_log.note_devices(conn, asked[0].now_s, [row["device"] for row in new])
    state_changes.store(conn, changes)
