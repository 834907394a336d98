"""Detects several clients with one device id, by refused registrations and by signs that boards share the id.

The functions take a database connection; a `device` is the device's key if it is a `str`, else its row. A single
board can't cause the following signs; two boards with the same id cause them again and again:

    start     a check-in reports an earlier start time than a previous check-in
    version   an update was confirmed, then reverted, then runs again without another offer
    token     an older token is used after a newer one

If a server's clock is set back, that looks like `start`, once. So the first sign is only recorded; a second one within
a week marks the device as `shared`: the operator is notified, and its update outcomes do not count for the stop rule.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from ..rules import update_states
from ..storage import audit, change_log
from ..storage.tables import AnyRow, Row, devices, grants, releases

SIGNS = 2
WITHIN_S = 7 * 24 * 3600
SLACK_S = 300  # clocks of boards are inexact, and a request takes some time
# Refused registrations are always counted; a new audit entry is written only after this time without a refusal.
TRACE_S = 24 * 3600


def is_ours(device: AnyRow) -> bool:
    """Was the device's last check-in sent by this project's agent? Only this agent sends `accepts`."""
    return "accepts" in json.loads(device["properties"])


def keeps_its_token(device: AnyRow) -> bool:
    """Does the device's client never accept a new token? False if the device has not checked in yet."""
    return device["seen_s"] is not None and not is_ours(device)


def count_refusal(conn: sa.Connection, device: AnyRow, address: str, now_s: int) -> None:
    """Count a refused registration with the id of the device (a row).

    The first one after TRACE_S without a refusal is also added to the audit log.
    """
    row = {"refused": devices.c.refused + 1, "refused_s": now_s, "refused_from": address}
    conn.execute(devices.update().where(devices.c.key == device["key"]).values(row))
    if device["refused_s"] is None or abs(now_s - device["refused_s"]) >= TRACE_S:
        audit.note_device(conn, now_s, audit.CLOUD, "device.refused", device["key"], address=address)


def booted_s(properties: Mapping[str, Any], now_s: int) -> int | None:
    """The start time of a device, from the properties of its check-in; None if they do not contain `up`."""
    up_s = properties.get("up")
    return int(now_s - up_s) if up_s.__class__ is int and 0 <= up_s <= now_s else None


def record_sign(conn: sa.Connection, device: str, what: str, now_s: int) -> None:
    """Record one of the signs above for the device. The second one marks it as shared."""
    row = conn.execute(
        sa.select(devices.c.mixed, devices.c.mixed_s, devices.c.shared_s).where(devices.c.key == device)
    ).one()
    recent = row.mixed_s is not None and abs(now_s - row.mixed_s) < WITHIN_S
    mixed = row.mixed + 1 if recent else 1
    values = {"mixed": mixed, "mixed_s": now_s}
    if mixed >= SIGNS and row.shared_s is None:
        values["shared_s"] = now_s
        _remove_from_counts(conn, device)
        audit.note_device(conn, now_s, audit.CLOUD, "device.shared", device, sign=what)
        change_log.note(conn, now_s, device)
    conn.execute(devices.update().where(devices.c.key == device).values(values))


def _remove_from_counts(conn: sa.Connection, device: str) -> None:
    """Remove the device's update outcomes from the counts of the stop rules."""
    mine = sa.and_(grants.c.device == device, grants.c.counted)
    for release, ended in conn.execute(sa.select(grants.c.release, grants.c.ended).where(mine)).all():
        found = sa.select(releases.c.counts).where(releases.c.id == release)
        counts = json.loads(conn.execute(found.with_for_update(key_share=True)).scalar_one())
        ends = counts.get("ended", {})
        ends[ended] = ends.get(ended, 0) - 1
        counts["ended"] = {state: n for state, n in ends.items() if n > 0}
        conn.execute(releases.update().where(releases.c.id == release).values(counts=json.dumps(counts)))
    conn.execute(grants.update().where(mine).values(counted=False))


def clear_signs(conn: sa.Connection, device: str) -> None:
    """Clear all signs: the board that an operator chose for this id has used its token."""
    row: Row = {"awaited": False, "mixed": 0, "mixed_s": None, "shared_s": None, "booted_s": None}
    conn.execute(devices.update().where(devices.c.key == device).values(row))


def counts(device: AnyRow, age_s: int, now_s: int) -> bool:
    """Do the device's update outcomes count for the stop rule of a release with this `age_s`?"""
    old = device["vouched"] or not update_states.is_new(device["first_s"], age_s, now_s)
    return old and device["shared_s"] is None


class Doubt(NamedTuple):
    """A warning for the operator."""

    says: str
    at_s: int


def warnings(device: AnyRow, held: Sequence[AnyRow]) -> list[Doubt]:
    """Warnings about a device, newest first, from its row and the rows of all its tokens, `held`."""
    found = []
    good = [each for each in held if each["ended_s"] is None]
    again = [each["used_s"] for each in good[1:] if each["origin"] == "registered" and each["used_s"] is not None]
    if device["shared_s"] is not None:
        found.append(Doubt(_SHARED, device["shared_s"]))
    if again:
        found.append(Doubt(_AGAIN, again[-1]))
    found += [Doubt(_LATE, each["late_s"]) for each in held if each["late_s"] is not None]
    if any(each["rotate"] for each in good) and keeps_its_token(device):
        found.append(Doubt(_KEEPS, device["seen_s"]))
    if device["refused"]:
        n, last = device["refused"], device["refused_from"] or "an unknown address"
        text = (
            "a registration with this id was refused, from " + last
            if n == 1
            else "%d registrations with this id were refused, the last one from %s" % (n, last)
        )
        found.append(Doubt(text, device["refused_s"]))
    return sorted(found, key=lambda doubt: doubt.at_s, reverse=True)


_SHARED = (
    "several boards share this id, so its updates do not count for stop rules: give every other board its own id, "
    "then run `ioto device claim` for this one"
)
_AGAIN = (
    "the device registered again after silence: its flash was erased, or another board uses its id; in the second "
    "case, run `ioto device revoke`"
)
_LATE = (
    "a token was used after another one had replaced it, so two boards have this device's tokens: run `ioto device "
    "revoke`, then `ioto device claim`"
)
_KEEPS = (
    "a new token was requested, but the client is not this project's agent and keeps its old one: create "
    "a token with `ioto device new` and install it by hand"
)
