"""Packed files are planned, made once, stored, deleted with their release; a new release waits for them."""

import hashlib
import random

import pytest
import sqlalchemy as sa
from cloud_under_test import PRODUCT, esp_image
from ioto_tools.cloud.http.errors import Unavailable
from ioto_tools.cloud.operators import control, overview
from ioto_tools.cloud.packing import making, plan, service
from ioto_tools.cloud.releases import deletion, image_deletion, packed, retention
from ioto_tools.cloud.releases.publish import publish
from ioto_tools.cloud.rules import stages
from ioto_tools.cloud.rules.selection import PACKING_S
from ioto_tools.cloud.storage import queries
from ioto_tools.cloud.storage.tables import packers, releases
from ioto_tools.image.pack import pack
from ioto_tools.image.unpack import unpack
from packed_release import IMAGE, NEW, OLD, Device, files, run, running, set_packed_bases
from processes import until
from signing import sealed

DAY_S = 86400


def content(cloud, checksum):
    with cloud.site.images.open(checksum) as file:
        return file.read(1 << 20)


def test_a_release_waits_for_its_files(cloud):
    cloud.publish("1.0.0", OLD)
    device = Device(cloud)
    device.ask()
    running(cloud)
    update = cloud.publish("1.1.0", NEW)["id"]
    assert overview.update(cloud.site, update)["status"] == "packing"
    assert device.ask() is None and overview.device(cloud.site, "D1")["offers"][0]["why"] == "packing"
    plan.apply_all(cloud.site)
    assert {row["state"] for row in files(cloud, update).values()} == {"waiting"}
    while making.make_next(cloud.site, update):
        assert files(cloud, update)[""]["state"] == "made"
    rows = files(cloud, update)
    assert {base: row["devices"] for base, row in rows.items()} == {"": 1, IMAGE: 1}
    assert unpack(content(cloud, rows[""]["checksum"])) == unpack(content(cloud, rows[IMAGE]["checksum"]), OLD) == NEW
    assert device.ask() == rows[IMAGE]["size"] < rows[""]["size"] < len(NEW)
    assert overview.update(cloud.site, update)["status"] == "active"
    assert run(cloud) == 1  # that of 1.0.0
    assert run(cloud) == 0


def test_a_release_waits_only_if_there_is_a_reason(cloud):
    """For a server that makes the files, for devices that accept them, and for an hour at most."""

    def waits(version, **more):
        return overview.update(cloud.site, cloud.publish(version, NEW, **more)["id"])["status"] == "packing"

    assert not waits("1.1.0")
    device = Device(cloud)
    device.ask()
    assert not waits("1.2.0")
    running(cloud, -1)
    assert not waits("1.3.0")
    running(cloud)
    assert waits("1.4.0")
    set_packed_bases(cloud, None)
    assert not waits("1.5.0")
    set_packed_bases(cloud, 0)
    assert waits("1.6.0") and device.ask() and device.offer["version"] == "1.5.0"
    cloud.now_s += PACKING_S - 1
    device.ask()
    assert device.offer["version"] == "1.5.0"
    cloud.now_s += 1
    device.ask()
    assert device.offer["version"] == "1.6.0"


def test_an_old_release_does_not_wait(cloud):
    """It will have no packed files, because it is not among the three newest."""
    Device(cloud).ask()
    running(cloud)
    statuses = [cloud.publish(version, NEW)["id"] for version in ("1.4.0", "1.3.0", "1.2.0", "1.1.0", "1.5.0")]
    statuses = [overview.update(cloud.site, update)["status"] for update in statuses]
    assert statuses == ["packing", "packing", "packing", "active", "packing"]
    control.change_state(cloud.site, "thermo@1.5.0", "cancelled")
    assert overview.update(cloud.site, cloud.publish("1.2.1", NEW)["id"])["status"] == "packing"


def test_a_release_that_begins_at_once(cloud, tmp_path):
    Device(cloud).ask()
    running(cloud)
    (tmp_path / "new.bin").write_bytes(NEW)
    row, _ = publish(cloud.site, tmp_path / "new.bin", "thermo", "1.1.0", said={"age": "none"}, begin_at_once=True)
    assert overview.update(cloud.site, row["id"])["status"] == "active"
    run(cloud)
    assert files(cloud, row["id"])[""]["state"] == "made"


@pytest.mark.parametrize("how", ["delete", "archive", "retention"])
def test_packed_files_are_deleted_with_the_release(cloud, how):
    cloud.publish("1.0.0", OLD)
    Device(cloud).ask()
    update = cloud.publish("1.1.0", NEW)["id"]
    run(cloud)
    sums = [row["checksum"] for row in files(cloud, update).values()]
    assert len(sums) == 2 and all(map(cloud.has_image, sums))
    if how == "retention":
        cloud.publish("1.2.0")
        retention.set_keep_images(cloud.site, "thermo", 1)
        retention.apply_all(cloud.site)
    else:
        getattr(deletion, how + "_release")(cloud.site, update)
    assert not files(cloud, update) and not any(map(cloud.has_image, sums))


def test_a_file_of_two_releases_is_deleted_with_the_last_one(cloud):
    Device(cloud).ask("0.9.0")
    one, two = cloud.publish("1.0.0", NEW)["id"], cloud.publish("1.1.0", NEW)["id"]
    run(cloud)
    checksum = files(cloud, one)[""]["checksum"]
    assert checksum == files(cloud, two)[""]["checksum"]
    deletion.delete_release(cloud.site, one)
    assert cloud.has_image(checksum)
    deletion.delete_release(cloud.site, two)
    assert not cloud.has_image(checksum)


def test_files_that_cannot_be_made(cloud, monkeypatch):
    """The reason is kept, and the release does not wait."""
    noise = random.Random(1).randbytes(2000)
    Device(cloud).ask()
    running(cloud)
    for version, image, reason in (
        ("1.1.0", noise, "not smaller: "),
        ("1.2.0", pack(NEW), "packed already"),
        ("1.3.0", b"x" * 70_000, "70000 bytes: an image of more than 65536 is not packed"),
    ):
        monkeypatch.setattr(plan, "MOST_BYTES", 65536)
        (cloud.folder / "any.bin").write_bytes(image)
        row, _ = publish(cloud.site, cloud.folder / "any.bin", "thermo", version, any_file=True)
        run(cloud)
        found = files(cloud, row["id"])[""]
        assert found["state"] == "failed" and reason in found["reason"] and found["checksum"] is None
        assert overview.update(cloud.site, row["id"])["status"] == "active"
    cloud.site.images.delete(row["checksum"])
    monkeypatch.setattr(plan, "MOST_BYTES", 1 << 20)
    plan.apply(cloud.site, row["id"])
    assert making.make_next(cloud.site, row["id"])["reason"].endswith("is missing in the store")


def test_a_signed_release_keeps_its_envelope(cloud, tmp_path):
    Device(cloud).ask()
    path = tmp_path / "signed.bin"
    path.write_bytes(sealed(NEW, "1.1.0", product=PRODUCT))
    row, _ = publish(cloud.site, path, "thermo", "1.1.0")
    run(cloud)
    found = content(cloud, files(cloud, row["id"])[""]["checksum"])
    assert found[:4096] == path.read_bytes()[:4096] and unpack(found[4096:]) == NEW


def soak(cloud, update):
    """When the time of the release's current stage has passed, in seconds from now."""
    row = cloud.site.database.read(queries.release, update)
    return stages.due_s(row) - cloud.now_s


def test_a_stage_begins_when_its_devices_are_offered_the_release(cloud):
    """At the latest after an hour. The later end of the wait then changes nothing, nor does a clock that was ahead."""
    Device(cloud).ask()
    running(cloud)
    one, two, ahead, other = (
        cloud.publish("1.%d.0" % n, NEW, stages=each, gate=each and "none")["id"]
        for n, each in enumerate(("10% 1d, 100%", "10% 1h, 50% 1d, 100%", "10% 1d, 100%", None))
    )
    cloud.now_s += 600
    assert soak(cloud, one) == DAY_S + PACKING_S - 600
    cloud.site.database.write(packed.end_wait, one, cloud.now_s)
    cloud.site.database.write(packed.end_wait, other, cloud.now_s)
    assert soak(cloud, one) == DAY_S
    cloud.now_s += PACKING_S
    cloud.site.database.write(packed.end_wait, one, cloud.now_s)
    assert soak(cloud, one) == DAY_S - PACKING_S
    assert soak(cloud, two) == PACKING_S - 600
    cloud.site.database.write(packed.end_wait, two, cloud.now_s)
    assert soak(cloud, two) == PACKING_S - 600
    set_release(cloud, ahead, created_s=cloud.now_s + 30 * DAY_S)
    assert soak(cloud, ahead) <= DAY_S
    assert cloud.site.database.read(queries.release, other)["stage_s"] is None


def set_release(cloud, update, **values):
    one = releases.update().where(releases.c.id == update)
    cloud.site.database.write(lambda conn: conn.execute(one.values(values)))


def test_the_service_opens_its_site_as_soon_as_this_is_possible(cloud, monkeypatch, caplog):
    monkeypatch.setattr(service, "_AGAIN_S", 0.02)
    monkeypatch.setattr(service, "EVERY_S", 0.02)
    settings = cloud.site.data / "site.toml"
    text = settings.read_text()
    settings.write_text("?")
    with service.Service(cloud.site.data, print) as started:
        started.start()
        until(lambda: "site.toml" in caplog.text, "nothing is logged")
        settings.write_text(text)
        until(lambda: cloud.site.database.read(lambda conn: conn.execute(sa.select(packers)).first()), "does not run")


def test_one_worker_makes_a_file(cloud):
    """Another one takes it when the lease of a killed worker has ended."""
    Device(cloud).ask()
    update = cloud.publish("1.1.0", NEW)["id"]
    plan.apply_all(cloud.site)
    with pytest.raises(KeyboardInterrupt):
        making.make_next(cloud.site, progress=interrupt)
    job = cloud.site.database.write(making._take, None, cloud.site.now_s())
    assert job.release == update and making.make_next(cloud.site) is None
    cloud.now_s += making.LEASE_S - 1
    assert making.make_next(cloud.site) is None
    cloud.now_s += 1
    assert making.make_next(cloud.site)["state"] == "made"
    checksum = files(cloud, update)[""]["checksum"]
    cloud.site.database.write(making._update, job, {"state": "failed", "reason": "late"}, cloud.site.now_s())
    assert files(cloud, update)[""]["checksum"] == checksum


def test_a_file_that_kills_its_workers_is_given_up(cloud):
    Device(cloud).ask()
    running(cloud)
    update = cloud.publish("1.1.0", NEW)["id"]
    plan.apply_all(cloud.site)
    for _ in range(2 * making._TRIES):  # a worker that ends with its server is not killed
        with pytest.raises(KeyboardInterrupt):
            making.make_next(cloud.site, progress=interrupt)
    for _ in range(making._TRIES):
        assert cloud.site.database.write(making._take, None, cloud.now_s).release == update
        cloud.now_s += making.LEASE_S
    assert overview.update(cloud.site, update)["status"] == "packing"
    assert making.make_next(cloud.site) is None
    assert "was killed" in files(cloud, update)[""]["reason"]
    assert overview.update(cloud.site, update)["status"] == "active"
    plan.apply(cloud.site, update)
    assert making.make_next(cloud.site)["state"] == "made"


@pytest.mark.parametrize("fault", [ValueError("no match"), MemoryError(), sa.exc.ArgumentError("odd")], ids=repr)
def test_an_unexpected_error_fails_one_file(cloud, monkeypatch, caplog, fault):
    """The traceback is logged, and the other files are made."""
    Device(cloud).ask()
    running(cloud)
    first, second = cloud.publish("1.1.0", NEW)["id"], cloud.publish("1.2.0", OLD)["id"]
    plan.apply_all(cloud.site)

    def faulty(image, *more):
        if image == NEW:
            raise fault
        return pack(image, *more)

    monkeypatch.setattr(making, "pack", faulty)
    results = [making.make_next(cloud.site) for _ in range(2)]
    assert sorted(each["state"] for each in results) == ["failed", "made"] and making.make_next(cloud.site) is None
    reason = "%s: %s" % (type(fault).__name__, fault)
    assert files(cloud, first)[""]["reason"] == reason and files(cloud, second)[""]["state"] == "made"
    assert reason in caplog.text and "Traceback" in caplog.text
    assert overview.update(cloud.site, first)["status"] == "active"


def test_a_store_that_does_not_answer(cloud, monkeypatch):
    """The file waits again. It fails with the third error, so that the other files are made."""
    Device(cloud).ask()
    update = cloud.publish("1.1.0", NEW)["id"]
    plan.apply_all(cloud.site)
    opened = cloud.site.images.open

    def faulty(checksum):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(cloud.site.images, "open", faulty)
    for _ in range(making._TRIES - 1):
        with pytest.raises(OSError, match="Input/output"):
            making.make_next(cloud.site)
        assert files(cloud, update)[""]["state"] == "waiting" and not files(cloud, update)[""]["lease_s"]
    assert making.make_next(cloud.site)["state"] == "failed"
    assert "OSError: [Errno 5] Input/output error" == files(cloud, update)[""]["reason"]
    monkeypatch.setattr(cloud.site.images, "open", opened)
    plan.apply(cloud.site, update)
    assert making.make_next(cloud.site)["state"] == "made"


def test_a_damaged_image_is_not_packed(cloud):
    """Neither as the base of a delta, nor as the image itself."""
    old = cloud.publish("1.0.0", OLD)["checksum"]
    Device(cloud).ask()
    update = cloud.publish("1.1.0", NEW)
    plan.apply_all(cloud.site)
    cloud.kind.spoil(cloud.site, old, OLD[:-1] + b"?")
    assert making.make_next(cloud.site, update["id"])["state"] == "made"
    damaged = "the image %s is damaged in the store: publish the file again"
    assert making.make_next(cloud.site, update["id"])["reason"] == damaged % IMAGE[:12]
    cloud.kind.spoil(cloud.site, update["checksum"], NEW[:-1] + b"?")
    cloud.site.database.write(lambda conn: packed.drop(conn, update["id"], cloud.now_s))
    plan.apply_all(cloud.site)
    assert making.make_next(cloud.site, update["id"])["reason"] == damaged % update["checksum"][:12]


def test_the_order_in_which_files_are_made(cloud):
    """Files of releases that wait for them, compressed files, then those for most devices."""
    images = [esp_image(b"%d" % n, 4000) for n in range(2)]
    hashes = [hashlib.sha256(image).hexdigest() for image in images]
    for n, image in enumerate(images):
        cloud.publish("1.%d.0" % n, image)
        for each in range(n + 1):
            Device(cloud, "D%d-%d" % (n, each), image=hashes[n]).ask("1.%d.0" % n)
    one = cloud.publish("1.2.0", esp_image(b"2", 4000))["id"]
    running(cloud)
    two = cloud.publish("1.3.0", esp_image(b"3", 4000))["id"]
    plan.apply_all(cloud.site)
    taken = []
    while job := cloud.site.database.write(making._take, None, cloud.now_s):
        taken.append((job.release, job.base))
    kept = [each for each in taken if each[0] in (one, two)]
    assert taken[:3] == [(two, ""), (two, hashes[1]), (two, hashes[0])]
    assert [base for _, base in taken[3:5]] == ["", ""]
    assert kept[3:] == [(one, ""), (one, hashes[1]), (one, hashes[0])]


def interrupt(done, size):
    raise KeyboardInterrupt


def test_a_lost_file_is_made_again(cloud):
    Device(cloud).ask()
    update = cloud.publish("1.1.0", NEW)["id"]
    run(cloud)
    checksum = files(cloud, update)[""]["checksum"]
    cloud.kind.spoil(cloud.site, checksum, None)
    plan.restore_lost(cloud.site)
    assert files(cloud, update)[""]["state"] == "waiting" and run(cloud) == 1 and cloud.has_image(checksum)


def test_no_file_is_made_while_its_content_is_being_deleted(cloud):
    Device(cloud).ask()
    one = cloud.publish("1.1.0", NEW)["id"]
    run(cloud)
    checksum = files(cloud, one)[""]["checksum"]
    cloud.site.database.write(lambda conn: packed.drop(conn, one, cloud.now_s))
    plan.apply_all(cloud.site)
    with pytest.raises(Unavailable, match="is being deleted"):
        making.make_next(cloud.site)
    image_deletion.finish(cloud.site, checksum)
    assert run(cloud) == 1 and cloud.has_image(checksum)
