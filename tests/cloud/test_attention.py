"""What needs attention: each item appears when it should, disappears when it is done, and links to its list."""

import json

import pytest
from cloud_under_test import ROOT, call
from ioto_tools.cloud.http.errors import CloudError
from ioto_tools.cloud.lists import device_filter, device_list
from ioto_tools.cloud.operators import control, operator_tokens, webhooks
from ioto_tools.cloud.releases.publish import new_product
from ioto_tools.cloud.rules import update_states
from ioto_tools.cloud.site import attention, backup, fleet_overview, housekeeping
from ioto_tools.cloud.storage import audit, tables
from web_session import Session

DAY = 86400
HOUR = 3600


def items(cloud, *kinds):
    """[(text, page, query)] of these kinds, by default of all."""
    found = fleet_overview.of_site(cloud.site)["attention"]
    assert [each["kind"] for each in found] == sorted((each["kind"] for each in found), key=attention.KINDS.index)
    return [(each["says"], each["page"], each["query"]) for each in found if not kinds or each["kind"] in kinds]


def update_all(cloud, update, outcomes):
    """Offer the update to a device for each of `outcomes`, (state, reason), which it then reports."""
    for n, (state, reason) in enumerate(outcomes):
        token = cloud.device("D%02d" % n)
        assert cloud.check_in("D%02d" % n, token, "1.0.0").json()["update"] == update
        cloud.report("D%02d" % n, token, update, state == "confirmed", state=state, reason=reason, attempt=1)


def test_nothing_needs_attention(cloud):
    update = cloud.publish("2.0.0")["id"]
    update_all(cloud, update, [("confirmed", "")] * 2)
    assert items(cloud) == []


def test_release_that_its_rule_has_stopped(cloud):
    update = cloud.publish("2.0.0", stop="50% after 2")["id"]
    update_all(cloud, update, [("confirmed", ""), ("failed", "selftest_failed")])
    text = "thermo 2.0.0 is paused, and its stop rule applies: 1 of 2 devices failed"
    assert items(cloud, "release_stopped") == [(text, "release", {"id": update})]
    control.set_terms(cloud.site, update, {"stop": "80% after 2"})
    assert items(cloud, "release_stopped") == []
    control.set_terms(cloud.site, update, {"stop": "50% after 2"})
    assert len(items(cloud, "release_stopped")) == 1
    control.change_state(cloud.site, update, "resumed")
    assert items(cloud, "release_stopped") == []


def test_failures_of_the_last_day_by_reason(cloud):
    update = cloud.publish("2.0.0")["id"]
    outcomes = [("failed", "selftest_failed: no sensor"), ("rolled_back", "trial_timeout")] + [
        ("failed", "selftest_failed: 7")
    ] * 2
    update_all(
        cloud, update, [*outcomes, ("refused", "unsigned"), ("refused", "no_memory"), ("failed", ""), ("confirmed", "")]
    )
    states = ",".join(sorted(update_states.FAILURES))

    def line(says, **query):
        reason = "failed" if query["reason"] == "none" else query["reason"]
        return says + " within a day: " + reason, "devices", {"release": update, "changed": "1 day", **query}

    text = "1 device failed to update to thermo 2.0.0"
    assert sorted(items(cloud, "failures")) == sorted([
        line("3 devices failed to update to thermo 2.0.0", state=states, reason="selftest_failed"),
        line(text, state=states, reason="trial_timeout"),
        line(text, state=states, reason="unsigned"),
        line(text, state="failed", reason="none"),
    ])  # fmt: skip
    cloud.now_s += DAY
    assert items(cloud, "failures") == []


def test_the_list_of_failures_has_as_many_devices_as_its_line(cloud):
    """Failures from earlier days, from removed devices, and with another reason are in neither."""
    update = cloud.publish("2.0.0")["id"]
    tokens = {"D%d" % n: cloud.device("D%d" % n) for n in range(7)}
    for n, (id, token) in enumerate(tokens.items()):
        cloud.check_in(id, token, "1.0.0")
        cloud.now_s += DAY if n == 2 else 0
        fields = {"state": "failed", "attempt": 1, "reason": ("", "selftest_failed: 3")[n % 2]}
        cloud.report(id, token, update, False, **fields)
        cloud.now_s += DAY if n == 1 else 0
    control.remove(cloud.site, "D6")
    found = {}
    for says, _, query in items(cloud, "failures"):
        wanted = device_filter.parse(cloud.site, query)
        found[says.rpartition(": ")[2]] = [int(says.split()[0]), device_list.count(cloud.site, wanted)["found"]]
        assert len(device_list.page(cloud.site, wanted)["devices"]) == found[says.rpartition(": ")[2]][0]
    assert found == {"failed": [2, 2], "selftest_failed": [2, 2]}


def test_number_of_failures_read_and_shown_is_limited(cloud, monkeypatch):
    update = cloud.publish("2.0.0")["id"]
    update_all(cloud, update, [("failed", "reason_%d" % (n // 2)) for n in range(8)])
    monkeypatch.setattr(attention, "MOST_ITEMS", 3)
    assert [text[:9] for text, _, _ in items(cloud, "failures")] == ["2 devices"] * 3
    monkeypatch.setattr(attention, "MOST_READ", 2)
    assert [text[:10] for text, _, _ in items(cloud, "failures")] in (["2+ devices"], ["1 device f"] * 2)


def test_silent_and_unclaimed_devices(cloud):
    tokens = {id: cloud.device(id) for id in ("D1", "D2")}
    new_product(cloud.site, "gate", "GATE8888", by_hand=True)
    cloud.register("G1", "GATE8888")
    for id, token in tokens.items():
        cloud.check_in(id, token, "1.0.0", next=2 * HOUR)
    text = "1 device of gate is waiting to be claimed", "devices", {"product": "gate", "claimed": "no"}
    assert items(cloud) == [text]
    cloud.now_s += 3 * HOUR
    assert items(cloud, "silent") == []
    cloud.now_s += 1
    query = {"product": "thermo", "silent": "yes", "sort": "seen"}
    text = "2 devices of thermo are overdue for a check-in"
    assert items(cloud, "silent") == [(text, "devices", query)]
    cloud.check_in("D1", tokens["D1"], "1.0.0", next=2 * HOUR)
    assert items(cloud, "silent")[0][0].startswith("1 device of thermo is overdue")
    control.claim(cloud.site, "G1")
    assert items(cloud, "unclaimed") == []


def test_suspicious_registrations(cloud, monkeypatch):
    cloud.check_in("D1", cloud.device("D1"), "1.0.0")
    cloud.device("D2")
    cloud.now_s += 60
    assert cloud.register("D1", address="other.test", more=1).status != 200
    cloud.site.database.write(share, "D2", cloud.now_s)
    device = {"id": "D2", "product": "thermo"}
    assert items(cloud, "shared_id") == [("several boards share the id D2 of thermo", "device", device)]
    text = "registrations with the id D1 of thermo were refused"
    assert items(cloud, "refused") == [(text, "device", {"id": "D1", "product": "thermo"})]
    cloud.now_s += DAY
    assert items(cloud, "refused") == [] and len(items(cloud, "shared_id")) == 1
    control.remove(cloud.site, "D2")
    assert items(cloud, "shared_id") == []


def share(conn, id, now_s):
    conn.execute(tables.devices.update().where(tables.devices.c.id == id).values(shared_s=now_s))


def test_failing_webhook(cloud):
    id = webhooks.new(cloud.site, "https://secret.test/")["id"]
    assert items(cloud, "webhook") == []
    cloud.site.database.write(set_error, id, "ConnectionRefusedError: secret.test")
    [(text, page, query)] = items(cloud, "webhook")
    assert text.startswith("webhook %s did not accept" % id) and "secret" not in text
    assert (page, query) == ("webhooks", {})
    reader = Session(cloud, "reader", "read").get("").body.decode()
    assert "audit?subject=" + id in reader and "secret" not in reader


def set_error(conn, id, error):
    conn.execute(tables.webhooks.update().where(tables.webhooks.c.id == id).values(error=error))


def test_full_disk(cloud, monkeypatch):
    assert items(cloud, "disk") == []
    monkeypatch.setattr(attention, "FREE_BYTES", 1 << 60)
    [(text, _, _)] = items(cloud, "disk")
    assert text.startswith("only ") and text.endswith(" MiB are free on the disk of the site's folder")
    assert housekeeping.FREE_BYTES < 1 << 60


def test_age_of_the_last_backup(cloud):
    cloud.now_s += attention.BACKUP_S
    assert items(cloud, "backup") == []
    cloud.now_s += 1
    in_folder = not cloud.site.settings["database"]  # PostgreSQL may be backed up by its own tools
    query = "audit", {"subject": "site"}
    assert items(cloud, "backup") == ([("`ioto cloud backup` has never been run", *query)] if in_folder else [])
    backup.backup(cloud.site.data, cloud.folder / "copy", lambda *_: None)
    backed_up_s = fleet_overview.of_site(cloud.site)["backed_up_s"]  # with the real clock
    assert cloud.site.database.read(audit.newest, 1)[0]["action"] == "site.backed_up"
    cloud.now_s = backed_up_s + attention.BACKUP_S
    assert items(cloud, "backup") == []
    cloud.now_s += DAY
    assert items(cloud, "backup") == [("the last `ioto cloud backup` was made 9 days ago", *query)]


def test_restored_site_has_the_time_of_its_backup(tmp_path, make_site):
    site = make_site(tmp_path / "site")
    new_product(site, "thermo")
    backup.backup(tmp_path / "site", tmp_path / "copy", lambda *_: None)
    made_s = fleet_overview.of_site(site)["backed_up_s"]
    site.close()
    make_site.settings(tmp_path / "again")
    backup.restore(tmp_path / "copy", tmp_path / "again", lambda *_: None)
    restored = make_site(tmp_path / "again")
    assert abs(fleet_overview.of_site(restored)["backed_up_s"] - made_s) <= 60
    restored.close()


def test_failed_backup_is_not_recorded(cloud):
    (cloud.folder / "copy").mkdir()
    (cloud.folder / "copy" / "other").write_text("")
    with pytest.raises(CloudError):
        backup.backup(cloud.site.data, cloud.folder / "copy", lambda *_: None)
    assert fleet_overview.of_site(cloud.site)["backed_up_s"] is None


@pytest.mark.sweep
def test_command_line_and_api_show_the_same(cloud, ioto):
    update = cloud.publish("2.0.0", stop="50% after 2")["id"]
    update_all(cloud, update, [("confirmed", ""), ("failed", "selftest_failed")])
    found = fleet_overview.of_site(cloud.site)
    token = operator_tokens.new(cloud.site, "ci", "read")["token"]
    reply = call(cloud.app, "GET", "/api/v1/overview", {"authorization": "bearer " + token}).json()
    assert reply["products"] == [{**found["products"][0], "id": "thermo"}]  # the id is hidden
    assert reply["attention"] == found["attention"] and reply["devices"] == 2
    printed = ioto("overview", "--data", "site").stdout
    assert "thermo 2.0.0 is paused, and its stop rule applies" in printed
    printed = json.loads(ioto("overview", "--data", "site", "--json").stdout)
    assert set(printed) == set(found) and printed["devices"] == 2


def test_every_kind_is_documented():
    guide = (ROOT / "docs" / "cloud.md").read_text()
    assert all("| `%s` |" % kind in guide for kind in attention.KINDS)
