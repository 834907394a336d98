"""Failures with their details: from reports and check-ins to the views of operators, with both databases."""

import json

import pytest
import sqlalchemy as sa
from cloud_under_test import PRODUCT, call
from device_failures import CAUSE, TRACE, WRONG, fail, offered
from ioto_tools.cloud.api import openapi
from ioto_tools.cloud.operators import control, operator_tokens, overview
from ioto_tools.cloud.releases import deletion
from ioto_tools.cloud.releases.publish import new_product
from ioto_tools.cloud.rollout import failures
from ioto_tools.cloud.rules import failure_details
from ioto_tools.cloud.site import housekeeping
from ioto_tools.cloud.storage import audit, counters
from ioto_tools.cloud.storage.tables import failures as rows


def of_device(cloud, id="D1"):
    return overview.device(cloud.site, id)["failures"]


def count(cloud):
    return cloud.site.database.read(lambda conn: conn.execute(sa.select(sa.func.count()).select_from(rows)).scalar())


def announced(cloud):
    found = cloud.site.database.read(audit.newest, 1000)
    return [row["detail"] for row in found if row["action"] == "release.new_failure"]


def test_a_reported_failure_is_shown_with_its_details(cloud):
    cloud.publish("2.0.0")
    token, update = offered(cloud)
    cloud.now_s += 60
    fail(cloud, "D1", token, update)
    assert of_device(cloud) == [
        {"update": update, "version": "2.0.0", "attempt": 1, "state": "rolled_back", "reason": "selftest_failed",
         "cause": CAUSE, **WRONG, "at_s": cloud.now_s}
    ]  # fmt: skip
    [group] = overview.release_failures(cloud.site, "thermo@2.0.0")
    assert (group["reason"], group["cause"], group["devices"]) == ("selftest_failed", CAUSE, 1)
    assert group["example"]["device"] == "D1" and group["example"]["trace"] == WRONG["trace"]


def test_repeated_reports_in_any_order_are_one_failure_per_attempt(cloud):
    cloud.publish("2.0.0")
    for n, order in enumerate(((("rolled_back", WRONG), ("failed", None)), (("failed", {}), ("rolled_back", WRONG)))):
        id = "D%d" % n
        token, update = offered(cloud, id)
        for state, details in order * 2:
            fail(cloud, id, token, update, state, 2, "" if state == "failed" else "selftest_failed", details)
            cloud.now_s += 1
        [found] = of_device(cloud, id)
        assert (found["state"], found["reason"], found["trace"]) == ("failed", "selftest_failed", WRONG["trace"])
        assert found["at_s"] == cloud.now_s - 4
        for attempt in (1, 2, 3):
            fail(cloud, id, token, update, "failed", attempt, "failed_before", {"trace": "later"})
        assert len(of_device(cloud, id)) == 1 and of_device(cloud, id)[0]["trace"] == WRONG["trace"]
    assert overview.release_failures(cloud.site, "thermo@2.0.0")[0]["devices"] == 2


def test_a_failure_after_another_offer_replaces_the_one_of_the_same_attempt(cloud):
    cloud.publish("2.0.0")
    token, update = offered(cloud)
    fail(cloud, "D1", token, update, "failed", 1)
    control.retry(cloud.site, update)
    cloud.now_s += 60
    assert cloud.check_in("D1", token, "1.0.0").json()["update"] == update
    fail(cloud, "D1", token, update, "rolled_back", 1, "trial_timeout", {"reset": "wdt"})
    [found] = of_device(cloud)
    assert (found["reason"], found["state"], found["trace"]) == ("trial_timeout", "rolled_back", "")
    assert found["cause"] == "reset: wdt"


def test_which_reports_are_failures(cloud):
    cloud.publish("2.0.0")
    for n, (state, reason, stored) in enumerate(
        (
            ("downloading", "", None),
            ("confirmed", "", None),
            ("refused", "withdrawn", None),
            ("refused", "record_failed", None),
            ("refused", "image_chip", "unfit"),
            ("failed", "flash_failed: 5", "failed"),
            ("rolled_back", "", "rolled_back"),
        )
    ):
        token, update = offered(cloud, "D%d" % n)
        fail(cloud, "D%d" % n, token, update, state, 1, reason, None)
        assert [each["state"] for each in of_device(cloud, "D%d" % n)] == [stored] * bool(stored), state
    found = overview.release_failures(cloud.site, update)
    assert {(each["reason"], each["cause"]) for each in found} == {("image_chip", ""), ("flash_failed", "#"), ("", "")}
    token = cloud.device("STRANGER")  # it was never offered the release
    fail(cloud, "STRANGER", token, update)
    assert of_device(cloud, "STRANGER") == []


def test_groups_of_a_release(cloud):
    cloud.publish("2.0.0")
    cloud.publish("1.5.0", enabled=False)
    tokens = {}
    for n in range(12):
        id = "D%02d" % n
        tokens[id], update = offered(cloud, id)
        for attempt in (1, 2):
            line, reason = (3, "selftest_failed") if n < 6 else (4, "selftest_failed") if n < 10 else (3, "rolled_back")
            details = {**WRONG, "trace": TRACE % (line, 100 + n)}
            fail(cloud, id, tokens[id], update, "rolled_back", attempt, reason, details)
    found = overview.release_failures(cloud.site, update)
    assert [(each["reason"], each["cause"][-1], each["devices"]) for each in found] == [
        ("selftest_failed", "3", 6), ("selftest_failed", "4", 4), ("rolled_back", "3", 2)
    ]  # fmt: skip
    assert found[1]["example"]["device"] in ("D06", "D07", "D08", "D09") and found[1]["example"]["attempt"] == 2
    assert overview.release_failures(cloud.site, "thermo@1.5.0") == []
    control.remove(cloud.site, found[0]["example"]["device"])
    assert overview.release_failures(cloud.site, update)[0]["devices"] == 5
    assert [each["device"] for each in announced(cloud)] == ["D10", "D06", "D00"]


def test_crashes_from_check_ins(cloud):
    update = cloud.publish("1.0.0")["id"]
    token = cloud.device()
    for _ in range(3):  # until the answer arrives
        assert cloud.check_in("D1", token, "1.0.0", failure=WRONG, room="hall").body == b"{}"
        cloud.now_s += 60
    [found] = of_device(cloud)
    assert (found["update"], found["version"], found["attempt"], found["reason"]) == (update, "1.0.0", 0, "crashed")
    assert found["at_s"] == cloud.now_s - 60 and found["cause"] == CAUSE
    assert "failure" not in overview.device(cloud.site, "D1")["properties"]
    assert overview.release_failures(cloud.site, update)[0]["reason"] == "crashed"
    cloud.check_in("D1", token, "0.9.0", failure={"reset": "wdt"})
    cloud.check_in("D1", token, "no version", failure={"reset": "hard"})
    assert [(each["update"], each["version"]) for each in of_device(cloud)[:2]] == [
        (None, "no version"),
        (None, "0.9.0"),
    ]
    assert overview.device(cloud.site, "D1")["reports"] == []
    cloud.check_in("D1", token, "1.0.0", failure="none", room="hall")  # a property of the device
    assert overview.device(cloud.site, "D1")["properties"]["failure"] == "none" and len(of_device(cloud)) == 3


def test_the_last_failures_of_a_device_are_kept(cloud):
    cloud.publish("2.0.0")
    token, update = offered(cloud)
    for n in range(8):
        cloud.check_in("D1", token, "1.0.0", failure={"log": "crash %d" % n})
        cloud.now_s += 1
    assert [each["log"] for each in of_device(cloud)] == ["crash %d" % n for n in (7, 6, 5, 4, 3)]
    for attempt in (*range(1, 8), 99):
        fail(cloud, "D1", token, update, "rolled_back", attempt)
    assert [each["attempt"] for each in of_device(cloud)] == [99, 7, 6, 5, 4] and count(cloud) == failures.KEPT


NASTY = (
    None, True, 5, "x", "\0", [], [[]], {}, {"trace": None, "log": 5, "reset": []}, {"trace": {"a": 1}},
    {"reset": "\0"}, {"trace": "\0"}, {"trace": "a\0b", "log": "\ud800\udfff", "reset": "\ud800"}, {"log": "\x1b[2J"},
    {"trace": "x" * 15000}, {"trace": "\U0001f600" * 900, "log": "\U0001f600" * 300}, {"log": "\n" * 7000},
    {"trace": "\ud800" * 2000}, {"trace": 'File "\U0001f600%s", line 9, in <module>\n' % ("y" * 300), "log": "%s {}"},
)  # fmt: skip


@pytest.mark.sweep
def test_hostile_details_refuse_nothing(cloud):
    cloud.publish("2.0.0")
    for n, nasty in enumerate(NASTY):
        id = "D%d" % n
        token, update = offered(cloud, id)
        for name in ("failure", "health"):
            reply = cloud.check_in(id, token, "1.0.0", **{name: nasty})
            assert reply.status == 200 and reply.json()["update"] == update, nasty
        fail(cloud, id, token, update, "rolled_back", 1, "\U0001f600" * 64, nasty)
        found = overview.device(cloud.site, id)
        for each in found["failures"]:
            texts = each["trace"] + each["log"]
            assert all(c.isprintable() or c in "\n\t" for c in texts + each["cause"] + each["reset"])
            assert len(texts.encode()) <= failure_details.BYTES
    assert overview.release_failures(cloud.site, update)


def test_a_body_of_16_kib_of_failure_is_accepted_and_a_longer_one_refused(cloud):
    cloud.publish("2.0.0")
    token, update = offered(cloud)
    fields = {"id": "D1", "version": "1.0.0", "failure": {"log": ""}}
    fields["failure"]["log"] = "x" * (16384 - len(json.dumps(fields)))
    assert cloud.post("/tok/provision/update", fields, token).json()["update"] == update
    assert of_device(cloud)[0]["log"].startswith("...xxx")
    fields["failure"]["log"] += "x"
    assert cloud.post("/tok/provision/update", fields, token).status == 413


def test_no_token_and_for_readers_no_product_id_in_what_is_shown(cloud):
    cloud.publish("2.0.0")
    token, update = offered(cloud)
    secret = {"trace": "E: " + token, "log": "Authorization: bearer %s\nregister with %s" % (token, PRODUCT)}
    fail(cloud, "D1", token, update, "rolled_back", 1, "selftest_failed", secret)
    cloud.check_in("D1", token, "1.0.0", failure=secret)
    reader = operator_tokens.new(cloud.site, "reader", "read")["token"]
    for path in ("/devices/D1", "/releases/%s/failures" % update, "/audit"):
        reply = call(cloud.app, "GET", openapi.PREFIX + path, {"authorization": "bearer " + reader})
        assert reply.status == 200 and token.encode() not in reply.body and PRODUCT.encode() not in reply.body, path
    assert token not in json.dumps(overview.device(cloud.site, "D1"))
    assert "register with thermo" in call(
        cloud.app, "GET", openapi.PREFIX + "/devices/D1", {"authorization": "bearer " + reader}
    ).json()["failures"][0]["log"]  # fmt: skip


def test_the_stop_rule_names_the_groups(cloud):
    cloud.publish("2.0.0", stop="1% after 3")
    for n in range(3):
        token, update = offered(cloud, "D%d" % n)
        fail(cloud, "D%d" % n, token, update, "failed", 1, "selftest_failed" if n else "trial_timeout")
    [row] = [each for each in cloud.site.database.read(audit.newest) if each["action"] == "release.stopped"]
    assert row["detail"]["failures"] == [
        {"reason": "selftest_failed", "cause": CAUSE, "devices": 2},
        {"reason": "trial_timeout", "cause": CAUSE, "devices": 1},
    ]


def test_events_for_new_groups_are_limited_and_need_a_device_that_counts(cloud):
    cloud.publish("2.0.0", age="1 day")
    token, update = offered(cloud)
    fail(cloud, "D1", token, update)
    assert announced(cloud) == []  # a new device does not count: it may be fake
    cloud.now_s += 86400
    fail(cloud, "D1", token, update, "rolled_back", 2)
    wanted = {"product": PRODUCT, "version": "2.0.0", "device": "D1", "reason": "selftest_failed", "cause": CAUSE}
    assert announced(cloud) == [wanted]
    for n in range(3, 26):
        fail(cloud, "D1", token, update, "rolled_back", n, "selftest_failed", {"trace": TRACE % (n, 1)})
    assert len(announced(cloud)) == failures.MOST_ANNOUNCED
    fail(cloud, "D1", token, update, "rolled_back", 70)  # its group was announced, although its row is deleted
    assert len(announced(cloud)) == failures.MOST_ANNOUNCED


def test_failures_are_deleted_with_their_device_release_and_age(cloud):
    update = cloud.publish("2.0.0")["id"]
    for id in ("D1", "D2", "D3"):
        token, _ = offered(cloud, id)
        fail(cloud, id, token, update)
        cloud.check_in(id, token, "1.0.0", failure=WRONG)
        cloud.now_s += 60
    control.remove(cloud.site, "D1")
    assert count(cloud) == 4 and of_device(cloud) == []
    cloud.now_s += housekeeping.REPORTS_S - 119
    while cloud.site.database.write(housekeeping.delete_old_data, cloud.now_s):
        pass
    assert count(cloud) == 2 and of_device(cloud, "D2") == []
    assert cloud.report("D3", token, update, False, state="failed", attempt=3).status == 200
    deletion.delete_release(cloud.site, update)
    assert [each["update"] for each in of_device(cloud, "D3")] == [None]
    assert not cloud.site.database.read(counters.begin_with, "failure ")
    for id in ("D2", "D3"):
        control.remove(cloud.site, id)
    deletion.delete_product(cloud.site, "thermo")
    assert count(cloud) == 0


def crash_while_removed(cloud, token):
    """Remove the device while its check-in with a crash is answered."""
    key = cloud.site.database.read(overview.find_device, "D1")["key"]
    control.remove(cloud.site, "D1")
    cloud.site.database.write(
        failures.record_crash, key, PRODUCT, "1.0.0", failure_details.read(WRONG, token), cloud.now_s
    )
    assert count(cloud) == 1


def test_a_crash_that_arrives_while_its_device_is_removed_is_deleted(cloud):
    crash_while_removed(cloud, cloud.device())
    deletion.delete_product(cloud.site, "thermo")
    assert count(cloud) == 0
    new_product(cloud.site, "thermo", PRODUCT)
    crash_while_removed(cloud, cloud.device())
    cloud.now_s += housekeeping.REMOVED_S + 1
    assert cloud.site.database.write(housekeeping.delete_old_data, cloud.now_s) and count(cloud) == 0


def test_a_policy_reads_the_health(cloud):
    cloud.publish("2.0.0", policy="device.health.free > 50000 && health.app.queue < 5 && version < newVersion")
    token = cloud.device()
    for health, offer in (
        (None, False),
        ({"free": 60000}, False),
        ({"free": "60000", "app": {"queue": 4}}, True),
        ({"free": 60000, "app": {"queue": 5}}, False),
        (["free"], False),
        ({"free": 60000, "app": {"queue": 4}}, True),
    ):
        assert ("url" in cloud.check_in("D1", token, "1.0.0", health=health).json()) == offer, health
    assert overview.device(cloud.site, "D1")["health"] == {"free": 60000, "app": {"queue": 4}}
