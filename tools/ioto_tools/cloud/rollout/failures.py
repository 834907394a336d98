"""Failures of devices, with details: failed updates from reports, and crashes from check-ins.

A failure of an update is identified by device, release and attempt; a crash by device and content. Both can therefore
arrive several times. The last KEPT failures of each device are stored. The first failure of a group (reason and cause)
of a release adds an audit row, but at most MOST_ANNOUNCED for each release: fake devices must not fill the audit log.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from ..rules import failure_cause, selection, update_states
from ..rules.failure_details import FailureDetails
from ..storage import audit, counters, queries
from ..storage.tables import AnyRow, Row, devices, failures, releases
from . import shared_ids

KEPT = 5
MOST_GROUPS = 20
MOST_ANNOUNCED = 20
CRASHED = "crashed"  # the state and the reason of a crash
_STATES = (CRASHED, "rolled_back", "unfit", "failed")  # of two reports about an attempt, the later state is stored
_TEXTS = ("reset", "trace", "log", "cause")
_REPEATED = "failed_before"  # the device repeats an outcome that it has reported


def record_report(
    conn: sa.Connection, grant: AnyRow, attempt: int, report: str, reason: str, details: FailureDetails, now_s: int
) -> None:
    """Store the failure that the device of `grant` (a row) reports about its release; no-op for a success."""
    code, _, note = reason.partition(":")
    device, release = grant["device"], grant["release"]
    state = update_states.event_of_report(report, code, grant["ended"])
    if state not in _STATES or code == _REPEATED:
        return
    row: Row = {"device": device, "event": "%s %d" % (release, attempt), "release": release, "attempt": attempt}
    row |= {"state": state, "reason": code[:64], **_texts(details, note.strip()), "at_s": now_s, "version": None}
    stored = _stored(conn, device, row["event"])
    if stored and stored["at_s"] >= grant["offered_s"]:  # else it is from an earlier offer
        row = _merge(stored, row)
    _store(conn, row, stored is None, now_s)


def record_crash(
    conn: sa.Connection, device: str, product: str, version: str, details: FailureDetails, now_s: int
) -> None:
    """Store a crash of the program `version`, outside of an update. `product`: the id of the device's product."""
    digest = hashlib.sha256(repr((version, details)).encode()).hexdigest()[:32]
    release = queries.release_by_version(conn, product, selection.precedence(version))
    row: Row = {"device": device, "event": "crash " + digest, "release": release and release["id"], "attempt": 0}
    row |= {"state": CRASHED, "reason": CRASHED, **_texts(details, ""), "at_s": now_s, "version": version}
    _store(conn, row, _stored(conn, device, row["event"]) is None, now_s)


def _texts(details: FailureDetails, note: str) -> Row:
    cause = failure_cause.of(details, note)
    return {"reset": details.reset, "trace": details.trace, "log": details.log, "cause": cause}


def _stored(conn: sa.Connection, device: str, event: str) -> sa.RowMapping | None:
    found = sa.select(failures).where(failures.c.device == device, failures.c.event == event)
    return conn.execute(found).mappings().first()


def _merge(stored: sa.RowMapping, row: Row) -> Row:
    """The row of an attempt from two reports about it: the texts that came first, and the final state."""
    texts = stored if any(stored[name] for name in _TEXTS) else row
    return {
        **row,
        **{name: texts[name] for name in _TEXTS},
        "reason": stored["reason"] or row["reason"],
        "state": max(stored["state"], row["state"], key=_STATES.index),
        "at_s": stored["at_s"],
    }


def _store(conn: sa.Connection, row: Row, new: bool, now_s: int) -> None:
    insert = queries.upsert(conn, failures).values(row)
    conn.execute(insert.on_conflict_do_update(index_elements=list(failures.primary_key), set_=row))
    if new:
        _delete_oldest(conn, row["device"])
    if row["release"]:
        _announce(conn, row, now_s)


def _delete_oldest(conn: sa.Connection, device: str) -> None:
    """Delete all but the newest KEPT failures of the device."""
    newest = failures.c.at_s.desc(), failures.c.attempt.desc(), failures.c.event
    found = sa.select(failures.c.event).where(failures.c.device == device).order_by(*newest)
    old = conn.execute(found).scalars().all()[KEPT:]
    if old:
        conn.execute(failures.delete().where(failures.c.device == device, failures.c.event.in_(old)))


# ---- the first failure of a group


def _announce(conn: sa.Connection, row: Row, now_s: int) -> None:
    """Add an audit row if no failure of this group was announced yet, unless the stop rule ignores the device."""
    group = hashlib.sha256(repr((row["reason"], row["cause"])).encode()).hexdigest()[:32]
    counter = _counter(row["release"]) + group
    if counters.one(conn, counter):
        return
    found = sa.select(releases.c.product, releases.c.version, releases.c.age_s).where(releases.c.id == row["release"])
    release = conn.execute(found).one()
    device = conn.execute(sa.select(devices).where(devices.c.key == row["device"])).mappings().one()
    if not shared_ids.counts(device, release.age_s, now_s):
        return
    if len(counters.begin_with(conn, _counter(row["release"]))) >= MOST_ANNOUNCED:
        return
    counters.put(conn, counter, now_s)
    detail = {"product": release.product, "version": release.version, "device": device["id"]}
    detail |= {name: row[name] for name in ("reason", "cause")}
    audit.note(conn, now_s, audit.CLOUD, "release.new_failure", row["release"], **detail)


def _counter(release: str) -> str:
    """The prefix of the names of the counters for the release's announced groups."""
    return "failure %s " % release


def delete_of_release(conn: sa.Connection, release: str) -> None:
    """Delete all failures of the release."""
    conn.execute(failures.delete().where(failures.c.release == release))
    for counter in counters.begin_with(conn, _counter(release)):
        counters.remove(conn, counter)


def delete_of_devices(conn: sa.Connection, keys: "Sequence[str] | sa.Select[tuple[str]]") -> None:
    """Delete all failures of the devices `keys`, a list or a query."""
    conn.execute(failures.delete().where(failures.c.device.in_(keys)))


# ---- views


def of_device(conn: sa.Connection, device: str) -> list[Row]:
    """The stored failures of a device, newest first; each with its release's version as `update_version`, or None."""
    found = sa.select(failures, releases.c.version.label("update_version")).outerjoin(releases)
    found = found.where(failures.c.device == device)
    newest = failures.c.at_s.desc(), failures.c.attempt.desc(), failures.c.event
    return [dict(row) for row in conn.execute(found.order_by(*newest)).mappings()]


def groups(conn: sa.Connection, release: str, most: int = MOST_GROUPS) -> list[Row]:
    """The release's failures by reason and cause, the group with the most devices first.

    [{reason, cause, devices, last_s, key}]: the number of devices, the time of the last failure, and the key of one of
    the devices.
    """
    count, last_s = sa.func.count(sa.distinct(failures.c.device)), sa.func.max(failures.c.at_s)
    group = failures.c.reason, failures.c.cause
    columns: tuple[Any, ...] = (
        *group,
        count.label("devices"),
        last_s.label("last_s"),
        sa.func.min(failures.c.device).label("key"),
    )
    found = sa.select(*columns).where(failures.c.release == release).group_by(*group)
    found = found.order_by(count.desc(), last_s.desc(), *group).limit(most)
    return [dict(row) for row in conn.execute(found).mappings()]


def example(conn: sa.Connection, release: str, group: Row) -> Row:
    """The last failure of a group, an element of groups(), on the device `key`; with the device's id as `id`."""
    found = sa.select(failures, devices.c.id).join(devices, devices.c.key == failures.c.device)
    found = found.where(failures.c.device == group["key"], failures.c.release == release)
    found = found.where(failures.c.reason == group["reason"], failures.c.cause == group["cause"])
    return dict(conn.execute(found.order_by(failures.c.at_s.desc()).limit(1)).mappings().one())
