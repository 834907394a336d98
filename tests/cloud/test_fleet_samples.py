"""Samples of each product's devices: what they count, when they are taken, how many are kept."""

import json
import random

import pytest
import sqlalchemy as sa
from cloud_under_test import PRODUCT
from ioto_tools.cloud.operators import control
from ioto_tools.cloud.releases.deletion import delete_product
from ioto_tools.cloud.releases.publish import new_product
from ioto_tools.cloud.rollout import fleet_samples
from ioto_tools.cloud.site import fleet_overview
from ioto_tools.cloud.storage.tables import devices

DAY = 86400
HOUR = 3600


def samples(cloud, product=PRODUCT):
    return cloud.site.database.read(fleet_samples.of, product)


def current(cloud):
    return {each["name"]: each for each in cloud.site.database.read(fleet_samples.current, cloud.now_s)}


def check_ins(cloud, versions):
    """Register a device for each element of `versions` and check it in, unless the element is None."""
    found = {}
    for n, version in enumerate(versions):
        found["D%02d" % n] = token = cloud.device("D%02d" % n)
        if version:
            cloud.check_in("D%02d" % n, token, version)
    return found


def test_numbers_of_a_product(cloud):
    new_product(cloud.site, "gate")
    tokens = check_ins(cloud, ["1.0.0"] * 3 + ["1.1.0", "odd", None])
    update = cloud.publish("2.0.0")["id"]
    for id in ("D00", "D01"):
        assert cloud.check_in(id, tokens[id], "1.0.0").json()["update"] == update
    cloud.report("D00", tokens["D00"], update, state="confirmed", attempt=1)
    control.unclaim(cloud.site, "D04")
    control.remove(cloud.site, "D03")
    found = current(cloud)
    assert found["thermo"] == {
        "id": PRODUCT, "name": "thermo", "at_s": cloud.now_s, "versions": {"1.0.0": 3, "odd": 1}, "other": 0,
        "never": 1, "devices": 5, "checked_in": 4, "silent": 0, "unclaimed": 1, "updated": 1,
    }  # fmt: skip
    assert found["gate"]["devices"] == 0 and found["gate"]["versions"] == {}
    cloud.now_s += 32 * HOUR  # 25 hours and a quarter of them
    cloud.check_in("D00", tokens["D00"], "2.0.0")
    found = current(cloud)["thermo"]
    assert (found["checked_in"], found["silent"], found["updated"]) == (1, 2, 0)  # D04 is not claimed


def test_number_of_versions_in_a_sample_is_limited(cloud):
    check_ins(cloud, ["1.%d.0" % n for n in range(30)] + ["1.29.0"])
    found = current(cloud)["thermo"]
    assert len(found["versions"]) == fleet_samples.MOST_VERSIONS and found["versions"]["1.29.0"] == 2
    assert sum(found["versions"].values()) + found["other"] == found["devices"] == 31


def store_at(conn, times):
    counted = fleet_samples.count(conn, PRODUCT, times[0])
    for at_s in times:
        fleet_samples.store(conn, PRODUCT, {**counted, "at_s": at_s})


def test_samples_are_hourly_for_a_week_and_then_daily(cloud):
    start = cloud.now_s = 1_800_000_000 // DAY * DAY
    every = [start + n * HOUR // 2 for n in range(11 * 24 * 2)]  # every half hour for eleven days
    cloud.site.database.write(store_at, every)
    times = [each["at_s"] for each in samples(cloud)]
    last = start + (11 * 24 - 1) * HOUR + HOUR // 2
    recent = [at_s for at_s in times if at_s >= last - 7 * DAY]
    assert recent == [last - n * HOUR for n in reversed(range(7 * 24 + 1))]
    old = times[: -len(recent)]
    assert [at_s // DAY for at_s in old] == [start // DAY + n for n in range(len(old))] and len(old) == 4
    assert all(at_s % DAY == DAY - HOUR // 2 for at_s in old[:-1])  # the last of their day
    cloud.site.database.write(store_at, [start + fleet_samples.KEPT_S + 2 * DAY])
    assert samples(cloud)[0]["at_s"] >= start + 2 * DAY


def test_sample_is_taken_only_if_due_and_replaces_that_of_the_same_hour(cloud):
    cloud.now_s = 1_800_000_000 // HOUR * HOUR
    for after_s, count in ((0, 1), (299, 1), (1, 1), (3300, 2)):
        cloud.now_s += after_s
        fleet_samples.take_due(cloud.site)
        found = samples(cloud)
        assert len(found) == count
    assert [each["at_s"] % HOUR for each in found] == [300, 0]


def test_large_fleet_is_not_counted_for_each_view(cloud, monkeypatch):
    monkeypatch.setattr(fleet_samples, "MOST_COUNTED", 3)
    new_product(cloud.site, "gate", "GATE8888")
    check_ins(cloud, ["1.0.0"] * 2)
    fleet_samples.take_due(cloud.site)
    check_ins(cloud, ["1.0.0"] * 3)
    assert current(cloud)["thermo"]["devices"] == 3  # as many as may be counted
    check_ins(cloud, ["1.0.0"] * 4)
    cloud.now_s += 2 * fleet_samples.EVERY_S - 1
    assert current(cloud)["thermo"]["devices"] == 2 and current(cloud)["thermo"]["at_s"] < cloud.now_s
    cloud.now_s += 1  # no worker takes samples
    assert current(cloud)["thermo"]["devices"] == 4


def test_samples_of_a_deleted_product_are_deleted(cloud):
    new_product(cloud.site, "gate", "GATE8888")
    fleet_samples.take_due(cloud.site)
    counted = cloud.site.database.read(fleet_samples.count, "GATE8888", cloud.now_s)
    delete_product(cloud.site, "gate")
    assert samples(cloud, "GATE8888") == []
    cloud.site.database.write(fleet_samples.store, "GATE8888", counted)  # counted before, stored after
    assert samples(cloud, "GATE8888") == []


@pytest.mark.sweep
def test_versions_over_time(cloud, ioto):
    """All views of the samples add up to the number of devices, for random fleets."""
    versions = ["1.%d.0" % n for n in range(20)] + ["2.0.0-rc.1", "odd"]
    check_ins(cloud, ["1.0.0"] * 15 + [None])
    start = cloud.now_s
    cloud.now_s += 34 * DAY
    cloud.site.database.write(mix_and_store, random.Random(4), versions, [start + n * DAY for n in range(35)])
    found = fleet_overview.of_product(cloud.site, "thermo")
    assert found["name"] == "thermo" and len(found["samples"]) == 35
    at_s, rows = fleet_overview.by_version(found["samples"])
    assert at_s == [start + n * DAY for n in range(35)]
    assert all(sum(row[i] for row in rows.values()) == 16 for i in range(35))
    names = [name for name in rows if name[0].isdigit()]
    assert names == sorted(names, key=lambda name: [int(n) for n in name.split("-")[0].split(".")], reverse=True)
    assert list(rows)[-2:] == [fleet_overview.OTHER, fleet_overview.NEVER] and len(rows) == 14
    for name, numbers in fleet_overview.version_table(found["samples"]):
        assert numbers == [rows[name][i] for i in (34, 33, 27, 4)]
    printed = ioto("product", "versions", "thermo", "--data", "site").stdout
    assert "no check-in yet" in printed and "30 days ago" in printed
    printed = json.loads(ioto("product", "versions", "thermo", "--data", "site", "--json").stdout)
    assert printed["name"] == "thermo" and printed["samples"][-1]["devices"] == 16


def mix_and_store(conn, draw, versions, times):
    ids = conn.execute(sa.select(devices.c.id).where(devices.c.version.is_not(None))).scalars().all()
    for at_s in times:
        values = [{"of": id, "version": draw.choice(versions)} for id in ids]
        conn.execute(devices.update().where(devices.c.id == sa.bindparam("of")), values)
        fleet_samples.store(conn, PRODUCT, fleet_samples.count(conn, PRODUCT, at_s))


def test_table_of_a_product_without_old_samples(cloud):
    check_ins(cloud, ["1.0.0"])
    found = fleet_overview.of_product(cloud.site, "thermo")["samples"]
    assert fleet_overview.version_table(found) == [("1.0.0", [1, None, None, None])]
