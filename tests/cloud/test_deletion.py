"""Releases and products are deleted only if nothing uses them; afterwards, only the audit log mentions them."""

import pytest
import sqlalchemy as sa
from cloud_under_test import esp_image
from ioto_tools.cloud.http.errors import Conflict, Missing
from ioto_tools.cloud.operators import control, overview
from ioto_tools.cloud.releases import deletion
from ioto_tools.cloud.releases.publish import new_product
from ioto_tools.cloud.rules import update_states
from ioto_tools.cloud.storage import audit
from ioto_tools.cloud.storage.tables import metadata, samples

BOTH = True
SAME = esp_image(b"same")


def left(cloud, update):
    """Names of the tables that contain rows about the update."""
    tables = [table for table in metadata.sorted_tables if "release" in table.c]
    rows = cloud.site.database.read(
        lambda conn: {t.name: conn.execute(sa.select(t).where(t.c.release == update)).first() for t in tables}
    )
    return sorted(name for name, row in rows.items() if row)


def test_nothing_is_left_but_the_audit_log(cloud):
    token, release = cloud.device(), cloud.publish("2.0.0")
    assert cloud.check_in("D1", token, "1.0.0").json()["version"] == "2.0.0"
    assert cloud.report("D1", token, release["id"], False, state="failed", attempt=1).status == 200
    cloud.site.database.write(
        lambda conn: conn.execute(samples.insert().values(release=release["id"], at_s=1, counts="{}"))
    )
    assert set(left(cloud, release["id"])) >= {"grants", "reports", "samples"}
    found = deletion.delete_release(cloud.site, "thermo@2.0.0")
    assert found == {"update": release["id"], "product": "thermo", "version": "2.0.0", "image": True}
    assert left(cloud, release["id"]) == [] and not cloud.has_image(release["checksum"])
    with pytest.raises(Missing):
        overview.update(cloud.site, release["id"])
    actions = [row["action"] for row in cloud.site.database.read(audit.newest) if row["subject"] == release["id"]]
    assert actions == ["release.deleted", "release.new_failure", "release.published"]
    # The device keeps checking in, and is offered the next release.
    cloud.now_s += 5
    assert cloud.check_in("D1", token, "1.0.0").body == b"{}"
    assert cloud.report("D1", token, release["id"], False, state="failed", attempt=2).status in (200, 404)
    cloud.publish("2.0.1")
    cloud.now_s += 5
    assert cloud.check_in("D1", token, "1.0.0").json()["version"] == "2.0.1"


@pytest.mark.parametrize("state", sorted(update_states.OPEN - {"offered"}))
def test_a_release_that_a_device_may_still_apply_stays(cloud, state):
    token, release = cloud.device(), cloud.publish("2.0.0")
    assert cloud.check_in("D1", token, "1.0.0").json()["version"] == "2.0.0"
    with pytest.raises(Conflict, match="in use: 1 device was offered it and has not finished:"):
        deletion.delete_release(cloud.site, release["id"])
    assert cloud.report("D1", token, release["id"], True, state=state, attempt=1).status == 200
    with pytest.raises(Conflict, match="in use: 1 device was offered it and has not finished:"):
        deletion.delete_release(cloud.site, release["id"])
    assert cloud.has_image(release["checksum"]) and "grants" in left(cloud, release["id"])
    control.remove(cloud.site, "D1")  # a removed device does not prevent the deletion
    assert deletion.delete_release(cloud.site, release["id"])["image"]


def test_a_release_that_a_device_runs_stays(cloud):
    release = cloud.publish("1.0.0")
    token = cloud.device()
    assert cloud.check_in("D1", token, "1.0.0").status == 200
    with pytest.raises(Conflict, match="in use: 1 device runs it:"):
        deletion.delete_release(cloud.site, release["id"])
    assert cloud.check_in("D1", token, "1.0.1").status == 200
    cloud.now_s += 5
    assert deletion.delete_release(cloud.site, release["id"])["image"]


def test_an_image_that_two_releases_have_goes_with_the_last(cloud):
    new_product(cloud.site, "second", "P2")
    first, second = cloud.publish("1.0.0", SAME), cloud.publish("1.0.0", SAME, product="second")
    assert first["checksum"] == second["checksum"]
    assert not deletion.delete_release(cloud.site, "thermo@1.0.0")["image"] and cloud.has_image(first["checksum"])
    assert deletion.delete_release(cloud.site, "second@1.0.0")["image"] and not cloud.has_image(first["checksum"])


def test_an_empty_product_is_deleted_with_its_removed_devices(cloud):
    release, token = cloud.publish("2.0.0"), cloud.device()
    with pytest.raises(Conflict, match="thermo has 1 device and 1 release:"):
        deletion.delete_product(cloud.site, "thermo")
    control.remove(cloud.site, "D1")
    deletion.delete_release(cloud.site, release["id"])
    found = deletion.delete_product(cloud.site, "thermo")
    assert found["name"] == "thermo" and overview.products(cloud.site) == []
    assert cloud.check_in("D1", token, "1.0.0").status == 403
    with pytest.raises(Missing):
        deletion.delete_product(cloud.site, "thermo")


@pytest.mark.sweep
def test_the_commands_ask_first(cloud, ioto):
    cloud.publish("2.0.0")
    refused = ioto("updates", "delete", "thermo@2.0.0", "--data", "site", ok=False)
    assert (
        refused.returncode == 1 and "Delete thermo 2.0.0" in refused.stdout and len(overview.updates(cloud.site)) == 1
    )
    assert ioto("updates", "delete", "thermo@2.0.0", "-y", "--data", "site").stdout == "thermo 2.0.0 deleted\n"
    assert ioto("product", "delete", "thermo", "-y", "--data", "site").stdout == "product thermo deleted\n"
    # A product that does not exist or cannot be deleted is refused before the question.
    missing = ioto("product", "delete", "thermo", "--data", "site", ok=False)
    assert missing.returncode == 1 and "not found" in missing.stderr and missing.stdout == ""
    new_product(cloud.site, "second", "P2")
    cloud.register("D1", "P2")
    refused = ioto("product", "delete", "P2", "--data", "site", ok=False)
    assert "product second has 1 device:" in refused.stderr and refused.stdout == ""
    control.remove(cloud.site, "D1")
    asked = ioto("product", "delete", "P2", "--data", "site", ok=False).stdout
    assert asked.startswith("Delete the product second?") and len(overview.products(cloud.site)) == 1
