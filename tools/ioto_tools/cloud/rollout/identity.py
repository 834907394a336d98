"""Who speaks under a device's id: registrations that were refused, and signs that several boards share it. Functions of a connection;
a `device` is its key, or its row.

One board can't do this, two with the same id do it all the time:

    start     a check-in tells of a start that lies before the one that an earlier check-in told of
    version   the update was confirmed, then taken back, then it runs again, and it was not offered meanwhile
    token     an older token is used after a younger one

A server's clock that is set back looks like the first, once. So one sign is written down, and the second within a week makes
the device `shared`: the operator is told, and what becomes of updates on it does not count for the stop rule.
"""

import json

import sqlalchemy as sa

from ..rules import update_states
from ..storage import audit, changes
from ..storage.tables import devices, grants, releases

SIGNS = 2
WITHIN_S = 7 * 24 * 3600
SLACK_S = 300  # clocks of boards are not exact, and a request takes its time
TRACE_S = 24 * 3600  # refused registrations of a device are counted always, and told of again after a rest of so long


def is_ours(device):
    """Is its client this project's agent, by the last check-in of the device's row? It alone says which formats it accepts."""
    return "accepts" in json.loads(device["properties"])


def keeps_its_token(device):
    """Does the client of a device's row never take another token? As far as is known: it may not have checked in yet."""
    return device["seen_s"] is not None and not is_ours(device)


def refused(conn, device, address, now_s):
    """A registration with the id of the device (a row) was refused: counted, and told of where it is new."""
    row = {"refused": devices.c.refused + 1, "refused_s": now_s, "refused_from": address}
    conn.execute(devices.update().where(devices.c.key == device["key"]).values(row))
    if device["refused_s"] is None or abs(now_s - device["refused_s"]) >= TRACE_S:
        audit.note_device(conn, now_s, audit.CLOUD, "device.refused", device["key"], address=address)


def booted_s(properties, now_s):
    """When the device of a check-in started, None where it does not say."""
    up_s = properties.get("up")
    return int(now_s - up_s) if up_s.__class__ is int and 0 <= up_s <= now_s else None


def sign(conn, device, what, now_s):
    """One of the signs above, of the device. The second makes it shared."""
    row = conn.execute(sa.select(devices.c.mixed, devices.c.mixed_s, devices.c.shared_s).where(devices.c.key == device)).one()
    recent = row.mixed_s is not None and abs(now_s - row.mixed_s) < WITHIN_S
    mixed = row.mixed + 1 if recent else 1
    values = {"mixed": mixed, "mixed_s": now_s}
    if mixed >= SIGNS and row.shared_s is None:
        values["shared_s"] = now_s
        _count_out(conn, device)
        audit.note_device(conn, now_s, audit.CLOUD, "device.shared", device, sign=what)
        changes.note(conn, now_s, device)
    conn.execute(devices.update().where(devices.c.key == device).values(values))


def _count_out(conn, device):
    """What became of updates on the device counts no more."""
    mine = sa.and_(grants.c.device == device, grants.c.counted)
    for release, ended in conn.execute(sa.select(grants.c.release, grants.c.ended).where(mine)).all():
        found = sa.select(releases.c.counts).where(releases.c.id == release)
        counts = json.loads(conn.execute(found.with_for_update(key_share=True)).scalar())
        ends = counts.get("ended", {})
        ends[ended] = ends.get(ended, 0) - 1
        counts["ended"] = {state: n for state, n in ends.items() if n > 0}
        conn.execute(releases.update().where(releases.c.id == release).values(counts=json.dumps(counts)))
    conn.execute(grants.update().where(mine).values(counted=False))


def one_again(conn, device):
    """An operator has said which board is the device, and it has spoken: nothing speaks against it any more."""
    row = {"awaited": False, "mixed": 0, "mixed_s": None, "shared_s": None, "booted_s": None}
    conn.execute(devices.update().where(devices.c.key == device).values(row))


def counts(conn, device, age_s, now_s):
    """Does what becomes of updates on the device count for the stop rule of a release with this `age_s`?"""
    found = sa.select(devices.c.first_s, devices.c.vouched, devices.c.shared_s).where(devices.c.key == device)
    row = conn.execute(found).one()
    return row.shared_s is None and (row.vouched or not update_states.is_new(row.first_s, age_s, now_s))


def doubts(device, held):
    """What the operator should know of a device's row and its tokens `held` (all of them): [(sentence, moment)], the newest first."""
    found = []
    good = [each for each in held if each["ended_s"] is None]
    again = [each["used_s"] for each in good[1:] if each["origin"] == "registered" and each["used_s"] is not None]
    if device["shared_s"] is not None:
        found.append(("several boards share this id, so its updates do not count for stop rules: give each board an id of its own, then `ioto device claim` this one", device["shared_s"]))
    if again:
        found.append(("it registered again after silence: its flash was erased, or another board took its id: then `ioto device revoke`", again[-1]))
    found += [("a token was used after another had replaced it: two boards hold this device's tokens: `ioto device revoke`, then `ioto device claim`", each["late_s"])
              for each in held if each["late_s"] is not None]  # fmt: skip
    if any(each["rotate"] for each in good) and keeps_its_token(device):
        text = ("another token was asked for, but the client is not this project's agent and keeps its old one: `ioto device new` "
                "makes one to give to it by hand")  # fmt: skip
        found.append((text, device["seen_s"]))
    if device["refused"]:
        n, last = device["refused"], device["refused_from"] or "an unknown address"
        text = "a registration with this id was refused, from " + last if n == 1 else "%d registrations with this id were refused, the last one from %s" % (n, last)
        found.append((text, device["refused_s"]))
    return sorted(found, key=lambda each: each[1], reverse=True)
