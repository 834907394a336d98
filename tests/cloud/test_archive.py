"""Archived releases lose their image and their place in the lists, not their history; old ones are archived by rule."""

import json

import pytest
import sqlalchemy as sa
from cloud_under_test import PRODUCT, call, esp_image
from ioto_tools.cloud.http.errors import CloudError, Conflict, Missing, Unavailable
from ioto_tools.cloud.operators import control, overview
from ioto_tools.cloud.releases import deletion, image_deletion, retention, usage
from ioto_tools.cloud.releases.publish import new_product
from ioto_tools.cloud.rules import update_states
from ioto_tools.cloud.site import housekeeping
from ioto_tools.cloud.storage import audit
from ioto_tools.cloud.storage.tables import image_deletions

BOTH = True
SAME = esp_image(b"same")


def versions(cloud, **options):
    return [each["version"] for each in overview.updates(cloud.site, **options)]


def set_keep(cloud, n):
    return retention.set_keep_images(cloud.site, "thermo", n)["surplus"]


def pending(cloud):
    return cloud.site.database.read(lambda conn: list(conn.execute(sa.select(image_deletions.c.checksum)).scalars()))


# ---- the image


@pytest.mark.parametrize("product", ("thermo", "second"))
def test_a_file_published_during_its_deletion_keeps_its_image(cloud, monkeypatch, product):
    """The same file is published between the two steps of a deletion: it is refused, and the next try succeeds."""
    new_product(cloud.site, "second", "P2")
    cloud.publish("1.0.0", SAME)
    delete, during = cloud.site.images.delete, []

    def delete_while_publishing(checksum):
        with pytest.raises(Unavailable, match="is being deleted"):
            cloud.publish("1.0.0", SAME, product=product)
        during.append(len(overview.updates(cloud.site)))
        delete(checksum)

    monkeypatch.setattr(cloud.site.images, "delete", delete_while_publishing)
    assert deletion.delete_release(cloud.site, "thermo@1.0.0")["image"] and during == [0]
    again = cloud.publish("1.0.0", SAME, product=product)
    assert cloud.has_image(again["checksum"]) and pending(cloud) == []


def test_a_file_stored_before_the_deletion_of_its_image_is_stored_again(cloud, monkeypatch):
    """A publisher stores its image, a deletion of the same image runs from start to end, the row is written."""
    cloud.publish("1.0.0", SAME)
    new_product(cloud.site, "second", "P2")
    keep, kept = cloud.site.images.keep, []

    def keep_then_delete(incoming):
        keep(incoming)
        if not kept:
            kept.append(1)
            assert deletion.delete_release(cloud.site, "thermo@1.0.0")["image"]

    monkeypatch.setattr(cloud.site.images, "keep", keep_then_delete)
    made = cloud.publish("2.0.0", SAME, product="second")
    assert cloud.has_image(made["checksum"]) and kept


@pytest.mark.sweep
def test_a_deletion_that_was_interrupted_is_completed(cloud, monkeypatch):
    release = cloud.publish("1.0.0", SAME)

    def fail(checksum):
        raise Unavailable("the store does not answer")

    with monkeypatch.context() as broken:
        broken.setattr(cloud.site.images, "delete", fail)
        with pytest.raises(Unavailable):
            deletion.delete_release(cloud.site, release["id"])
    assert overview.updates(cloud.site) == [] and cloud.has_image(release["checksum"])
    image_deletion.complete_all(cloud.site)
    assert cloud.has_image(release["checksum"])  # the process that began the deletion may still be alive
    cloud.now_s += image_deletion.LEASE_S
    image_deletion.complete_all(cloud.site)
    assert not cloud.has_image(release["checksum"]) and pending(cloud) == []


def test_a_left_over_deletion_spares_an_image_that_was_published_again(cloud):
    release = cloud.publish("1.0.0", SAME)
    cloud.site.database.write(
        lambda conn: conn.execute(image_deletions.insert().values(checksum=release["checksum"], until_s=1))
    )
    image_deletion.complete_all(cloud.site)
    assert cloud.has_image(release["checksum"]) and pending(cloud) == []
    # A process that was suspended during its deletion does not go on when its lease has ended.
    image_deletion.finish(cloud.site, release["checksum"])
    assert cloud.has_image(release["checksum"])


# ---- archive


@pytest.mark.parametrize("state", [None, *update_states.REPORTS])
def test_any_release_can_be_archived(cloud, state):
    token, release = cloud.device(), cloud.publish("2.0.0")
    assert cloud.check_in("D1", token, "1.0.0").json()["update"] == release["id"]
    if state:
        assert cloud.report("D1", token, release["id"], True, state=state, attempt=1).status == 200
    found = deletion.archive_release(cloud.site, "thermo@2.0.0")
    assert found == {"update": release["id"], "product": "thermo", "version": "2.0.0", "image": True}
    assert not cloud.has_image(release["checksum"])
    assert versions(cloud) == [] and versions(cloud, archived=True) == ["2.0.0"]
    shown = overview.update(cloud.site, release["id"])
    assert (shown["status"], shown["state"], shown["archived_s"]) == ("archived", "cancelled", cloud.now_s)
    assert shown["audit"][0]["action"] == "release.archived" and sum(shown["states"].values()) == 1
    assert overview.products(cloud.site)[0]["updates"] == 0
    device = overview.device(cloud.site, "D1")
    assert device["offers"] == [] and device["updates"][0]["version"] == "2.0.0"
    cloud.now_s += 5
    assert cloud.check_in("D1", token, "1.0.0").body == b"{}"
    link = cloud.link(release["id"])
    assert call(cloud.app, "GET", link).status == 404
    with pytest.raises(Conflict, match="archived already"):
        deletion.archive_release(cloud.site, release["id"])


def test_an_archived_release_stays_archived(cloud):
    release = cloud.publish("1.0.0", SAME)
    deletion.archive_release(cloud.site, release["id"])
    with pytest.raises(Conflict, match="1.0.0 is archived"):
        cloud.publish("1.0.0", SAME)
    assert not cloud.has_image(release["checksum"])
    for action in ("approved", "paused", "resumed", "cancelled"):
        with pytest.raises(Conflict):
            control.change_state(cloud.site, release["id"], action)
    with pytest.raises(Conflict, match="1 archived release:"):
        deletion.delete_product(cloud.site, "thermo")
    deletion.delete_release(cloud.site, release["id"])
    assert versions(cloud, archived=True) == []
    assert cloud.has_image(cloud.publish("1.0.0", SAME)["checksum"])


def test_an_image_that_another_release_has_is_kept(cloud):
    new_product(cloud.site, "second", "P2")
    first = cloud.publish("1.0.0", SAME)
    cloud.publish("1.0.0", SAME, product="second")
    assert not deletion.archive_release(cloud.site, first["id"])["image"] and cloud.has_image(first["checksum"])
    assert deletion.archive_release(cloud.site, "second@1.0.0")["image"] and not cloud.has_image(first["checksum"])


# ---- which devices use a release


def used(cloud, word):
    return str(deletion.release_usage(cloud.site, word))


def test_usage_counts_versions_images_and_pins(cloud):
    release = cloud.publish("1.0.0", enabled=False)
    assert used(cloud, "thermo@1.0.0") == "no device uses it"
    for id, sent in (("A", {}), ("B", {"image": release["checksum"]}), ("C", {}), ("D", {}), ("E", {})):
        version = {"A": "1.0.0", "C": "1.0.0+build.5", "D": "1.0.0-rc.1"}.get(id, "0.9.0")
        assert cloud.check_in(id, cloud.device(id), version, **sent).status == 200
    control.pin(cloud.site, "E", "1.0.0")
    assert used(cloud, "thermo@1.0.0") == "3 devices run it, 1 device is pinned to it"
    with pytest.raises(Conflict, match="1.0.0 is in use: 3 devices run it, 1 device is pinned to it:"):
        deletion.delete_release(cloud.site, release["id"])
    for id in "ABCE":
        control.remove(cloud.site, id)
    assert used(cloud, "thermo@1.0.0") == "no device uses it"
    assert str(usage.Usage(1, 2, 3)) == (
        "1 device runs it, 2 devices were offered it and have not finished, 3 devices are pinned to it"
    )


# ---- keep the newest images


def test_only_the_newest_images_are_kept(cloud):
    made = {version: cloud.publish(version) for version in ("1.0.0", "1.1.0", "1.10.0", "1.9.0")}
    assert set_keep(cloud, 2) == ["1.1.0", "1.0.0"] and len(versions(cloud)) == 4  # not before the next publication
    made["2.0.0"] = cloud.publish("2.0.0")
    assert versions(cloud) == ["2.0.0", "1.10.0"]
    assert [cloud.has_image(each["checksum"]) for each in made.values()] == [False, False, True, False, True]
    rows = [row for row in cloud.site.database.read(audit.newest) if row["action"] == "release.archived"]
    assert len(rows) == 3 and {row["who"] for row in rows} == {audit.CLOUD}
    assert all(row["detail"]["why"] == "keep_images" for row in rows)
    assert set_keep(cloud, None) == []
    cloud.publish("3.0.0")
    assert versions(cloud) == ["3.0.0", "2.0.0", "1.10.0"]


def test_a_lower_version_published_later_is_archived_at_once(cloud):
    set_keep(cloud, 1)
    cloud.publish("2.0.0")
    release = cloud.publish("1.0.0")
    assert versions(cloud) == ["2.0.0"] and not cloud.has_image(release["checksum"])


@pytest.mark.parametrize("use", ("version", "image", "pin", *sorted(update_states.OPEN)))
def test_what_devices_use_is_never_archived(cloud, use):
    token, release = cloud.device(), cloud.publish("1.0.0", enabled=use in update_states.OPEN)
    sent = {"image": release["checksum"]} if use == "image" else {}
    assert cloud.check_in("D1", token, "1.0.0" if use == "version" else "0.9.0", **sent).status == 200
    if use == "pin":
        control.pin(cloud.site, "D1", "1.0.0")
    if use in update_states.OPEN - {"offered"}:
        assert cloud.report("D1", token, release["id"], True, state=use, attempt=1).status == 200
    set_keep(cloud, 1)
    cloud.publish("2.0.0", enabled=False)
    retention.apply_all(cloud.site)
    assert versions(cloud) == ["2.0.0", "1.0.0"] and cloud.has_image(release["checksum"])
    control.remove(cloud.site, "D1")
    retention.apply_all(cloud.site)
    assert versions(cloud) == ["2.0.0"] and not cloud.has_image(release["checksum"])


def test_cancelled_releases_do_not_take_the_place_of_others(cloud):
    for version in ("1.0.0", "1.1.0", "2.0.0", "2.1.0"):
        cloud.publish(version)
    control.change_state(cloud.site, "thermo@2.1.0", "cancelled")
    control.change_state(cloud.site, "thermo@1.1.0", "cancelled")
    set_keep(cloud, 1)
    retention.apply_all(cloud.site)
    assert versions(cloud) == ["2.1.0", "2.0.0"]


def test_a_device_that_starts_to_use_a_release_meanwhile_keeps_it(cloud, monkeypatch):
    """The release is checked again in the transaction that archives it."""
    cloud.publish("1.0.0", enabled=False)
    cloud.publish("2.0.0", enabled=False)
    set_keep(cloud, 1)
    token, read = cloud.device(), cloud.site.database.read

    def read_then_check_in(function, *arguments):
        found = read(function, *arguments)
        if function is retention._surplus:
            assert [row["version"] for row in found] == ["1.0.0"]
            assert cloud.check_in("D1", token, "1.0.0").status == 200
        return found

    monkeypatch.setattr(cloud.site.database, "read", read_then_check_in)
    retention.apply_all(cloud.site)
    assert versions(cloud) == ["2.0.0", "1.0.0"]


def test_an_image_that_cannot_be_deleted_does_not_undo_a_publication(cloud, monkeypatch):
    cloud.publish("1.0.0")
    set_keep(cloud, 1)

    def fail(checksum):
        raise Unavailable("the store does not answer")

    monkeypatch.setattr(cloud.site.images, "delete", fail)
    cloud.publish("2.0.0")
    assert versions(cloud) == ["2.0.0"] and len(pending(cloud)) == 1


def test_housekeeping_ignores_archived_releases(cloud, caplog):
    release = cloud.publish("1.0.0")
    deletion.archive_release(cloud.site, release["id"])
    housekeeping.check_images(cloud.site)
    assert "image" not in caplog.text


@pytest.mark.sweep
def test_the_commands(cloud, ioto):
    data = "--data", "site"
    for version in ("1.0.0", "1.1.0", "2.0.0"):
        cloud.publish(version)
    assert ioto("updates", "archive", "thermo@2.0.0", *data, ok=False).returncode == 1 and len(versions(cloud)) == 3
    assert ioto("updates", "archive", "thermo@2.0.0", "-y", *data).stdout == "thermo 2.0.0 archived\n"
    listed = json.loads(ioto("updates", "--archived", "--json", *data).stdout)
    assert [each["status"] for each in listed] == ["archived", "active", "active"]
    assert len(json.loads(ioto("updates", "--json", *data).stdout)) == 2
    said = ioto("product", "set", "thermo", "--keep-images", "1", *data).stdout
    assert said == (
        "product thermo keeps its newest 1 image\nto be archived within an hour by a running server: 1.0.0\n"
    )
    for wrong in ("0", "-1", "x", "1001", "9" * 400, "²", ""):
        done = ioto("product", "set", "thermo", "--keep-images=" + wrong, *data, ok=False)
        assert done.returncode == 2 and "expected: a number from 1 to 1000, or all" in done.stderr, wrong
    assert ioto("product", "set", "thermo", "--keep-images", "all", *data).stdout == "product thermo keeps all images\n"
    assert overview.products(cloud.site)[0]["keep_images"] is None


def test_unknown_products_and_releases(cloud):
    for call_ in (
        lambda: retention.set_keep_images(cloud.site, "nix", 1),
        lambda: deletion.archive_release(cloud.site, "thermo@9.9.9"),
        lambda: deletion.release_usage(cloud.site, "nix"),
    ):
        with pytest.raises(Missing):
            call_()
    assert issubclass(Missing, CloudError) and overview.products(cloud.site)[0]["id"] == PRODUCT
