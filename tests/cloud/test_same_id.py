"""Devices of two products with the same id are independent, in their requests and for operators."""

import json
import re

import pytest
import sqlalchemy as sa
from cloud_under_test import PRODUCT, Cloud, call, esp_image
from device_actions import DAY, audited_subjects, second_worker
from ioto_tools.cloud.devices import registration, tokens
from ioto_tools.cloud.http.errors import Conflict, Missing
from ioto_tools.cloud.lists import device_filter, device_list
from ioto_tools.cloud.operators import control, operator_tokens, overview
from ioto_tools.cloud.releases import forecast
from ioto_tools.cloud.releases.publish import dry_run, new_product
from ioto_tools.cloud.rollout import shared_ids
from ioto_tools.cloud.site import backup
from ioto_tools.cloud.site.site import Site
from ioto_tools.cloud.storage import audit, migrate
from ioto_tools.cloud.storage.tables import devices, grants, reports
from ioto_tools.cloud.storage.tables import tokens as token_rows
from web_session import Session, problem, text

OTHER = "OTHER8"
API = "/api/v1"


@pytest.fixture
def two(cloud):
    """A cloud with two devices named D1, of two products. Each is offered a release of its product."""
    new_product(cloud.site, "gate", OTHER)
    cloud.mine, cloud.theirs = cloud.device(), cloud.device(product=OTHER)
    cloud.publish("2.0.0")
    cloud.publish("3.0.0", product="gate")
    assert (
        check_in(cloud, cloud.mine).json()["version"] == "2.0.0"
        and check_in(cloud, cloud.theirs, OTHER).json()["version"] == "3.0.0"
    )
    return cloud


def check_in(cloud, token, product=PRODUCT, version="1.0.0", **said):
    return cloud.post(
        "/tok/provision/update", {"id": "D1", "product": product, "version": version, **said}, "bearer " + token
    )


def kept(cloud, product=PRODUCT):
    """All stored data of the device D1 of this product."""
    key = sa.select(devices.c.key).where(devices.c.product == product).scalar_subquery()

    def rows(conn):
        own = [conn.execute(sa.select(devices).where(devices.c.product == product)).all()]
        return own + [
            conn.execute(sa.select(table).where(table.c.device == key)).all() for table in (token_rows, grants, reports)
        ]

    return cloud.site.database.read(rows)


def test_requests_of_one_device_never_affect_the_other(two):
    update = overview.update(two.site, "gate@3.0.0")["update"]
    before = kept(two)
    tell = lambda **said: two.report("D1", two.theirs, update, **said).status
    assert [tell(state=state, success=False) for state in ("staged", "applied", "rolled_back", "failed")] == [200] * 4
    # A report about a release of the other product.
    assert two.report("D1", two.theirs, overview.update(two.site, "thermo@2.0.0")["update"]).status == 200
    for up in (100, 5000, 100, 5000, 100):  # as if several boards of this product shared the id
        assert check_in(two, two.theirs, OTHER, up=up).status == 200
    assert (
        audited_subjects(two, "device.shared") == ["D1"]
        and two.register("D1", OTHER, address="192.0.2.1").status == 409
    )
    assert (
        check_in(two, two.theirs, PRODUCT).status == 403 and check_in(two, "nothing").body == b"Authentication failed"
    )
    two.now_s += tokens.QUIET_S
    thief = two.device(product=OTHER, address="192.0.2.1")
    assert check_in(two, thief, OTHER).status == check_in(two, two.theirs, OTHER).status == 200
    assert audited_subjects(two, "device.taken_over") == ["D1"]
    assert kept(two) == before and overview.device(two.site, "D1", "thermo")["doubts"] == []
    assert check_in(two, two.mine).json()["version"] == "2.0.0"
    rows = [row for row in two.site.database.read(audit.newest) if row["action"].startswith("device.")]
    assert len(rows) == 4 and {row["detail"]["product"] for row in rows} == {"gate"}


CHANGES = {
    "pin": lambda site, product: control.pin(site, "D1", "3.0.0", product),
    "rotate": lambda site, product: control.rotate(site, ["D1"], product),
    "rotate all": lambda site, product: control.rotate(site, product=product),
    "revoke": lambda site, product: control.revoke(site, "D1", product),
    "release": lambda site, product: control.unclaim(site, "D1", product),
    "claim": lambda site, product: control.claim(site, "D1", product),
    "remove": lambda site, product: control.remove(site, "D1", product),
    "new": lambda site, product: registration.register_by_hand(site, OTHER, "D1"),
    "retry": lambda site, product: control.retry(site, "gate@3.0.0", ["D1"]),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("product", ["gate", OTHER])
def test_changes_by_an_operator_never_affect_the_other(two, change, product):
    two.report("D1", two.theirs, overview.update(two.site, "gate@3.0.0")["update"], False)
    other = second_worker(two)  # the requests below put both devices into its cache
    for token, owner in ((two.mine, PRODUCT), (two.theirs, OTHER)):
        assert [check_in(other, token, owner).status for _ in range(3)] == [200] * 3
    before, theirs = kept(two), kept(two, OTHER)
    CHANGES[change](two.site, product)
    assert kept(two) == before and kept(two, OTHER) != theirs
    other.moments[0] += 2
    reply = check_in(other, two.theirs, OTHER)
    assert "token" not in check_in(other, two.mine).json() and check_in(other, two.mine).json()["version"] == "2.0.0"
    assert (reply.status, "token" in reply.json() if reply.status == 200 else None) == {
        "rotate": (200, True), "rotate all": (200, True), "revoke": (401, None), "release": (404, None), "remove": (404,
        None),
    }.get(change, (200, False))  # fmt: skip
    other.close()
    [row] = two.site.database.read(audit.newest, 1)
    assert row["detail"]["product"] in ("gate", OTHER) and row["who"] == two.site.who


def test_the_request_limits_of_the_devices_are_separate(tmp_path):
    cloud = Cloud(tmp_path, rate=5)
    new_product(cloud.site, "gate", OTHER)
    assert [cloud.register("D1", OTHER, address="192.0.2.%d" % n).status for n in range(7)] == [200] * 5 + [429] * 2
    assert cloud.register("D1", address="192.0.2.9").status == 200
    cloud.close()


# ---- naming one of the two devices


WANTED = "device D1: several products have a device with this id (gate, thermo): add `--product NAME`"


def test_an_ambiguous_id_is_an_error_that_changes_nothing(two):
    before = kept(two), kept(two, OTHER)
    for change in ("pin", "rotate", "revoke", "release", "claim", "remove"):
        with pytest.raises(overview.Ambiguous, match=re.escape(WANTED)):
            CHANGES[change](two.site, None)
    assert (kept(two), kept(two, OTHER)) == before
    with pytest.raises(Missing, match="device D2: product gate has no device with this id"):
        control.remove(two.site, "D2", "gate")
    with pytest.raises(Missing, match="product nothing"):
        control.remove(two.site, "D1", "nothing")
    control.remove(two.site, "D1", "gate")
    assert overview.device(two.site, "D1")["product"] == "thermo"  # the remaining one
    control.remove(two.site, "D1")
    with pytest.raises(overview.Ambiguous):
        overview.device(two.site, "D1")
    assert (
        overview.device(two.site, "D1", "gate")["removed"]
        and overview.device(two.site, "D1", PRODUCT)["product"] == "thermo"
    )


def test_a_product_name_that_is_another_products_id_is_refused(two):
    for name, id in (("NEW", PRODUCT), (PRODUCT, None), ("NEW", "thermo")):
        with pytest.raises(Conflict, match="this name or id is in use"):
            new_product(two.site, name, id)


def test_the_api_accepts_a_product(two):
    head = {"Authorization": "bearer " + operator_tokens.new(two.site, "boss", "admin")["token"]}
    for method, body in (("GET", b""), ("PATCH", b'{"pin": "3.0.0"}'), ("DELETE", b"")):
        reply = call(two.app, method, API + "/devices/D1", head, body)
        assert reply.status == 409 and WANTED in reply.json()["error"]
        reply = call(two.app, method, API + "/devices/D1?product=gate", head, body)
        assert reply.status == 200 and reply.json()["product"] == "gate"
    assert (
        overview.device(two.site, "D1", "gate")["removed"] and overview.device(two.site, "D1", "gate")["pin"] == "3.0.0"
    )
    assert call(two.app, "GET", API + "/devices/D1", head).json()["product"] == "thermo"


@pytest.mark.sweep
def test_the_commands_accept_a_product(two, ioto):
    said = ("device", "pin", "D1", "2.0.0", "--data", "site")
    refused = ioto(*said, ok=False)
    assert refused.returncode == 1 and WANTED in refused.stderr.replace("\n", " ")
    ioto(*said, "--product", "gate")
    assert (
        overview.device(two.site, "D1", "gate")["pin"] == "2.0.0"
        and overview.device(two.site, "D1", "thermo")["pin"] is None
    )
    ioto("device", "rotate", "D1", "--product", "gate", "--data", "site")
    assert (
        json.loads(ioto("device", "show", "D1", "--json", "--product", OTHER, "--data", "site").stdout)["product"]
        == "gate"
    )
    assert audited_subjects(two, "device.rotated") == ["D1"]


@pytest.mark.sweep
def test_the_pages_link_to_the_right_device(two):
    jo = Session(two)
    links = re.findall(r'href="(device\?[^"]*)"', jo.get("devices").body.decode())
    assert sorted(links) == ["device?id=D1&amp;product=gate", "device?id=D1&amp;product=thermo"]
    assert jo.get("device?id=D1").headers["location"] == "devices?id=D1"
    for product in ("gate", "thermo"):
        assert "product %s" % product in text(jo.get("device?id=D1&product=" + product))
    assert (
        jo.post("device", {"id": "D1", "product": "gate", "action": "revoke"}).headers["location"]
        == "device?id=D1&product=gate"
    )
    assert "device?id=D1&amp;product=gate" in jo.get("audit").body.decode()
    assert check_in(two, two.theirs, OTHER).status == 401 and check_in(two, two.mine).status == 200
    assert WANTED in problem(jo.post("device", {"id": "D1", "action": "revoke"}))


# ---- lists


def test_lists_in_pages_of_any_size_are_complete(cloud, monkeypatch):
    names = ["p%d" % n for n in range(4)]
    for name in names:
        new_product(cloud.site, name, name.upper())
    there = {("p%d" % p, "D%d" % n) for p in range(4) for n in range(5) if (p + n) % 3}
    for product, id in sorted(there):
        cloud.register(id, product.upper())
    control.remove(cloud.site, "D2", "p0")
    there.remove(("p0", "D2"))
    pair = lambda rows: [(row["product"], row["id"]) for row in rows]
    for most in range(1, 16):
        monkeypatch.setattr(overview, "PAGE", most)
        monkeypatch.setattr(device_list, "MOST_EXAMINED", most)
        monkeypatch.setattr(device_list, "MOST_COSTLY", most)
        assert sorted(pair(overview.devices(cloud.site))) == sorted(there)
        for said in ({}, {"policy": "device.id != 'D1'"}, {"sort": "first"}):
            wanted = device_filter.parse(cloud.site, said)
            found, after = [], ""
            while after is not None:
                page = device_list.page(cloud.site, wanted, after, most)
                found, after = found + pair(page["devices"]), page["after"]
            assert sorted(found) == sorted(each for each in there if not wanted.tests or each[1] != "D1"), (most, said)
    assert pair(overview.devices(cloud.site, "p1")) == [("p1", "D%d" % n) for n in range(5) if (1 + n) % 3]


def test_a_dry_run_uses_the_devices_of_its_product(two):
    control.pin(two.site, "D1", "1.0.0", "gate")
    (two.folder / "image.bin").write_bytes(esp_image(b"4.0.0"))
    for product, why in (("thermo", "offered"), ("gate", "pinned")):
        assert list(dry_run(two.site, two.folder / "image.bin", product, "4.0.0")["found"]) == [why]
    assert forecast.EXAMPLES


# ---- the database


def test_a_site_with_such_devices_can_be_backed_up_and_restored(two, tmp_path, kind):
    before = kept(two), kept(two, OTHER)
    backup.backup(two.folder / "site", tmp_path / "backup", lambda *_: None)
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "site.toml").write_text(kind.settings())
    backup.restore(tmp_path / "backup", tmp_path / "again", lambda *_: None)
    two.close()
    two.site = Site(tmp_path / "again")
    assert (kept(two), kept(two, OTHER)) == before


def test_devices_of_an_older_database_keep_their_data(two, monkeypatch):
    """In revision 0009, ids were unique; after the migration, another product may use them too."""
    control.remove(two.site, "D1", "gate")
    two.site.database.write(
        lambda conn: conn.execute(devices.delete().where(devices.c.product == OTHER)) if forget(conn) else None
    )
    two.site.database.write(migrate.to, "0009")
    assert (
        two.site.database.read(
            lambda conn: conn.exec_driver_sql(
                "SELECT count(*) FROM grants, tokens WHERE grants.device = 'D1' AND tokens.device = 'D1'"
            ).scalar()
        )
        == 1
    )
    two.site.database.write(migrate.up)
    row = two.site.database.read(overview.find_device, "D1")
    assert (row["key"], row["id"]) == ("D1", "D1") and check_in(two, two.mine).json()["version"] == "2.0.0"
    before = kept(two)
    theirs = two.device(product=OTHER)
    assert check_in(two, theirs, OTHER).json()["version"] == "3.0.0" and kept(two) == before
    assert two.site.database.read(overview.find_device, "D1", "gate")["key"] != "D1"
    with pytest.raises(ValueError, match="D1"):
        two.site.database.write(migrate.to, "0009")
    assert check_in(two, theirs, OTHER).status == 200


def forget(conn):
    for table in (token_rows, grants, reports):
        conn.execute(
            table.delete().where(table.c.device.in_(sa.select(devices.c.key).where(devices.c.product == OTHER)))
        )
    return True


def test_devices_of_two_products_are_not_detected_as_clones(two):
    assert shared_ids.SIGNS == 2  # for clones of one product, see test_clones.py
    for n in range(10):
        two.now_s += DAY
        assert check_in(two, two.mine, up=1000 * n).status == check_in(two, two.theirs, OTHER, up=10).status == 200
    assert audited_subjects(two, "device.shared") == []
