"""Which packed files are planned: of the newest releases, and for devices that accept them; without long reads."""

import hashlib

import pytest
import sqlalchemy as sa
from cloud_under_test import PRODUCT, esp_image
from ioto_tools.cloud.http.errors import CloudError
from ioto_tools.cloud.operators import overview
from ioto_tools.cloud.packing import making, plan, service
from ioto_tools.cloud.releases import packed
from ioto_tools.cloud.releases.publish import new_product
from packed_release import IMAGE, NEW, OLD, Device, files, run, running, set_packed_bases


def test_the_bases_are_the_images_of_most_devices(cloud):
    images = [esp_image(b"%d" % n, 40_000) for n in range(5)]
    hashes = [hashlib.sha256(image).hexdigest() for image in images]
    for n, image in enumerate(images):
        cloud.publish("1.%d.0" % n, image)
    update = cloud.publish("1.9.0", NEW)["id"]
    for n, count in enumerate((1, 3, 0, 2, 2)):
        for each in range(count):
            Device(cloud, "D%d-%d" % (n, each), image=hashes[n]).ask("1.%d.0" % n)
    for n, more in enumerate(({"accepts": ["raw"]}, {"accepts": None}, {"chip": None}, {"image": "f" * 64})):
        for each in range(4):
            Device(cloud, "E%d-%d" % (n, each), **{"image": hashes[0], **more}).ask()
    plan.apply_all(cloud.site)
    assert {base: row["devices"] for base, row in files(cloud, update).items() if base} == {
        hashes[1]: 3, hashes[3]: 2, hashes[4]: 2
    }  # fmt: skip
    set_packed_bases(cloud, 1)
    plan.apply_all(cloud.site)
    assert set(files(cloud, update)) == {"", hashes[1]}
    set_packed_bases(cloud, 0)
    plan.apply_all(cloud.site)
    assert set(files(cloud, update)) == {""}
    set_packed_bases(cloud, 9)
    plan.apply_all(cloud.site)
    assert set(files(cloud, update)) == {"", hashes[0], hashes[1], hashes[3], hashes[4]}
    set_packed_bases(cloud, None)
    plan.apply_all(cloud.site)
    assert not files(cloud, update)


def test_nothing_is_planned_for_devices_that_accept_no_packed_file(cloud):
    """A device on Linux accepts compressed files, but no delta. An operator can have files made at any time."""
    cloud.publish("1.0.0", OLD)
    Device(cloud, accepts=["raw"], notes="packed").ask()
    update = cloud.publish("1.1.0", NEW)["id"]
    assert not cloud.site.database.read(plan.is_due) and run(cloud) == 0 and not files(cloud, update)
    plan.apply(cloud.site, update)
    assert set(files(cloud, update)) == {""}
    Device(cloud, "D2", chip=None).ask()
    assert cloud.site.database.read(plan.is_due)
    plan.apply_due(cloud.site)
    assert not cloud.site.database.read(plan.is_due)
    assert run(cloud) == 2 and {base: row["devices"] for base, row in files(cloud, update).items()} == {"": 0}


def test_only_the_newest_devices_decide_whether_a_release_waits(cloud, monkeypatch):
    monkeypatch.setattr(packed, "_EXAMINED", 2)
    Device(cloud).ask()
    running(cloud)
    for n, status in enumerate(("packing", "packing", "active")):
        update = cloud.publish("1.%d.0" % n, NEW)["id"]
        assert overview.update(cloud.site, update)["status"] == status
        cloud.now_s += 1
        Device(cloud, "E%d" % n, accepts=["raw"]).ask()
    assert not cloud.site.database.read(plan.is_due)
    assert run(cloud) == 3, "when files are planned anew, all devices are looked at"


def test_what_is_published_meanwhile_is_planned_at_once(cloud, monkeypatch):
    """A release that is published while the process has files to make does not wait until they are all made."""
    Device(cloud).ask()
    updates = [cloud.publish("1.%d.0" % n, NEW)["id"] for n in range(2)]
    running(cloud)
    plan.apply_all(cloud.site)
    made, make = [], making.make_next

    def next_file(site):
        found = make(site)
        made.append({row["state"] for row in files(cloud, updates[-1]).values()})
        if len(made) == 1:
            updates.append(cloud.publish("1.2.0", esp_image(b"other"))["id"])
        return found

    monkeypatch.setattr(making, "make_next", next_file)
    service.make_all(cloud.site)
    assert made[1] == {"made"} and files(cloud, updates[0])[""]["state"] == "made"


@pytest.mark.only_in_folder
def test_the_devices_of_a_product_are_counted_without_sorting_them(cloud, monkeypatch):
    """Each page would sort the whole product. Every device is counted once, on whichever page."""
    monkeypatch.setattr(plan, "_AT_ONCE", 2)
    for n in range(5):
        Device(cloud, "D%d" % n).ask()
    asked = statements(lambda: plan.count_images(cloud.site, PRODUCT))
    with cloud.site.database.transactions.reading.connect() as conn:
        steps = [row[3] for asks in asked for row in conn.exec_driver_sql("EXPLAIN QUERY PLAN " + asks[0], asks[1])]
    assert any("ix_devices_product" in step for step in steps) and not [step for step in steps if "B-TREE" in step]
    assert plan.count_images(cloud.site, PRODUCT) == {"": 5, IMAGE: 5}


def test_one_statement_finds_the_releases_without_a_plan(cloud):
    """It reads only the columns that it needs, because it runs each second on a busy site."""
    for n in range(3):
        new_product(cloud.site, "other%d" % n)
        cloud.publish("1.%d.0" % n, NEW)
    Device(cloud).ask()
    run(cloud)
    ((statement, _),) = statements(lambda: cloud.site.database.read(plan.is_due))
    assert "manifest" not in statement and "policy" not in statement


def test_only_the_newest_releases_have_packed_files(cloud):
    """An older file goes when no device downloads it any more. Its content goes with it."""
    cloud.publish("1.0.0", OLD)
    updates = [cloud.publish("1.1.0", NEW)["id"]]
    device = Device(cloud)
    device.ask()
    run(cloud)
    device.ask()
    other = Device(cloud, "D2")
    size = other.ask()
    sums = {base: row["checksum"] for base, row in files(cloud, updates[0]).items()}
    assert size == files(cloud, updates[0])[IMAGE]["size"]
    updates += [cloud.publish("1.%d.0" % n)["id"] for n in (2, 3, 4)]
    plan.apply_all(cloud.site)
    assert set(files(cloud, updates[0])) == {IMAGE} and not cloud.has_image(sums[""])
    assert cloud.has_image(sums[IMAGE])
    with pytest.raises(CloudError, match="only of the 3 newest releases"):
        plan.apply(cloud.site, updates[0])
    device.report("confirmed")
    other.report("confirmed")
    plan.apply_all(cloud.site)
    assert not files(cloud, updates[0]) and not cloud.has_image(sums[IMAGE])


def statements(work):
    """The SELECT statements of `work`, with their parameters."""
    asked = []
    note = lambda conn, cursor, statement, parameters, context, many: asked.append((statement, parameters))
    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    work()
    sa.event.remove(sa.Engine, "before_cursor_execute", note)
    return [each for each in asked if each[0].startswith("SELECT")]
