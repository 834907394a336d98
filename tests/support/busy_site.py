"""Fills a site as after a year of use: many devices of one product, twenty releases, 400 days of offers and reports.

Device N was offered four of the releases, one every hundred days. Of the devices of a release, one in 30 failed, and
one in 500 is still downloading. One device in 50 has been silent for ten days, one in 1000 is unclaimed.
"""

import json

from ioto_tools.cloud.storage.tables import devices, grants, products, releases, reports

PRODUCT, NAME = "busy-product", "busy"
RELEASES = 20
DAYS = 400
OFFERS = 4  # of each device
DAY_S = 24 * 3600
BLOCK = 5000  # devices in a transaction
REASONS = ("selftest_failed", "trial_timeout", "rolled_back")


def id_of(n):
    return "BUSY%07d" % n


def release_of(n):
    return "01BUSYRELEASE%013d" % n


def fill(site, count):
    """Add `count` devices, with the product and its releases."""
    now_s = site.now_s()
    site.database.write(_add_releases, count, now_s)
    for start in range(0, count, BLOCK):
        site.database.write(_add_devices, range(start, min(count, start + BLOCK)), now_s)
    site.database.write(_analyze)


def _analyze(conn):
    """Update the planner's statistics, as PostgreSQL does by itself after a while."""
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql("ANALYZE")


def _add_releases(conn, count, now_s):
    conn.execute(products.insert().values(id=PRODUCT, name=NAME, created_s=now_s - DAYS * DAY_S, by_hand=False))
    for n in range(RELEASES):
        conn.execute(releases.insert().values(_release(n, count, now_s)))


def _release(n, count, now_s):
    offered = count * OFFERS // RELEASES
    failed, left = offered // 30, offered // 500
    now = {"confirmed": offered - failed - left, "failed": failed, "downloading": left}
    ended = {"confirmed": now["confirmed"], "failed": failed}
    version = "1.%d.0" % n
    return {
        "id": release_of(n), "product": PRODUCT, "version": version, "precedence": version, "checksum": "%064x" % n,
        "size": 1_500_000, "description": "", "enabled": n == RELEASES - 1, "policy": "device.version < update.version",
        "created_s": now_s - (RELEASES - n) * DAYS * DAY_S // RELEASES, "percentage": 100.0, "state": "active",
        "taken": offered, "counts": json.dumps({"now": now, "ended": ended}), "age_s": 0,
    }  # fmt: skip


def _add_devices(conn, numbers, now_s):
    conn.execute(devices.insert(), [_device(n, now_s) for n in numbers])
    found = [_grant(n, each, now_s) for n in numbers for each in range(OFFERS)]
    conn.execute(grants.insert(), found)
    conn.execute(reports.insert(), [row for grant in found for row in _reports(grant)])


def _device(n, now_s):
    seen_s = now_s - (10 * DAY_S if n % 50 == 7 else n * 7919 % DAY_S)
    version = "1.%d.0" % (n % 5 + 15)
    properties = {
        "id": id_of(n), "product": PRODUCT, "version": version, "region": ("eu", "us", "asia")[n % 3], "room": n % 200,
        "device": "ESP32-S3", "firmware": "micropython 1.26.1", "revision": "0.2", "slot": "ota_0",
        "heap": 40_000 + n % 9000, "flash": 8 << 20, "address": "10.0.%d.%d" % (n // 250 % 250, n % 250),
        "interval": DAY_S, "name": "device %d" % n,
    }  # fmt: skip
    return {
        "key": "%024x" % (n * 2654435761 % 2**64), "id": id_of(n), "product": PRODUCT, "version": version,
        "properties": json.dumps(properties), "registered_s": now_s - DAYS * DAY_S + n * 31 % (DAYS * DAY_S),
        "registrations": 1, "seen_s": seen_s, "next_s": DAY_S, "interval_s": DAY_S, "checkins": 400,
        "unknown_reports": 0, "claimed": n % 1000 != 5, "first_s": now_s - DAYS * DAY_S + n * 31 % (DAYS * DAY_S),
    }  # fmt: skip


def _grant(n, offer, now_s):
    release = n % 5 + 5 * offer
    state = "failed" if n * 7919 % 30011 % 30 == 11 else "downloading" if n * 7919 % 30011 % 500 == 13 else "confirmed"
    offered_s = now_s - (RELEASES - release) * DAYS * DAY_S // RELEASES + n % DAY_S
    return {
        "device": "%024x" % (n * 2654435761 % 2**64), "release": release_of(release), "version": "1.0.0", "tries": 1,
        "attempt": 1, "state": state, "ended": None if state == "downloading" else state, "counted": True,
        "granted_s": offered_s, "offered_s": offered_s, "changed_s": offered_s + 600, "retry": 0,
    }  # fmt: skip


def _reports(grant):
    reason = REASONS[grant["offered_s"] % len(REASONS)] if grant["state"] == "failed" else ""
    states = ("downloading", "staged", "applied", grant["state"]) if grant["ended"] else ("downloading",)
    return [
        {
            "device": grant["device"], "release": grant["release"], "attempt": 1, "state": state,
            "success": state == "confirmed", "reason": reason if state == grant["state"] else "", "version": "1.0.0",
            "received_s": grant["offered_s"] + 60 * step, "times": 1,
        }
        for step, state in enumerate(states)
    ]  # fmt: skip
