"""Failures and health on the page, in the commands, in the API and in webhooks, as sent by a device over HTTP."""

import html
import json
import re
import urllib.request

import pytest
from click.testing import CliRunner
from cloud_under_test import PRODUCT
from device_failures import CAUSE, WRONG, fail, offered
from ioto_tools.cli import main
from ioto_tools.cloud.operators import overview, webhooks
from ioto_tools.cloud.rollout import failures
from ioto_tools.cloud.rules.failure_details import FailureDetails
from web_session import Session, text

MARK = "<script>alert('x')</script>\"'><b a="
HEALTH = {"free": 81232, "least": 60000, "rssi": -61, "resets": {"wdt": 2}, "app": {"temperature": 21.5, MARK: 1}}


@pytest.fixture
def failed(cloud):
    """A cloud with a device that failed an update and crashed; what it sends is malicious."""
    cloud.publish("2.0.0")
    cloud.token, cloud.update = offered(cloud)
    fail(cloud, "D1", cloud.token, cloud.update)
    nasty = {"reset": MARK, "trace": WRONG["trace"] + MARK, "log": "\x1b]0;title\x07 " + MARK + " {{7*7}}"}
    cloud.check_in("D1", cloud.token, "2.0.0", health=HEALTH, up=7200, failure=nasty)
    return cloud


def texts(page, tag):
    return [html.unescape(found) for found in re.findall("<%s[^>]*>(.*?)</%s>" % (tag, tag), page, re.S)]


def test_the_pages_show_failures_as_text(failed):
    operator = Session(failed)
    for path in ("device?id=D1", "release?id=" + failed.update):
        reply = operator.get(path)
        page = reply.body.decode()
        assert reply.status == 200 and MARK not in page and "<script>alert" not in page and "\x1b" not in page
        shown = texts(page, "pre")
        assert WRONG["trace"] in shown and WRONG["log"] in shown
        assert WRONG["trace"] + MARK in shown and "?]0;title? " + MARK + " {{7*7}}" in shown
        assert failed.token not in page
    assert "1 device: selftest_failed: %s" % CAUSE in text(operator.get("release?id=" + failed.update))
    device = text(operator.get("device?id=D1"))
    assert "rolled back 2.0.0, attempt 1: selftest_failed, reset: soft" in device
    assert "up 7,200 free 81,232 least 60,000 rssi -61 resets wdt 2 temperature 21.5" in device


def test_pages_without_failures_and_health(cloud):
    cloud.publish("2.0.0")
    offered(cloud)
    operator = Session(cloud)
    for path in ("device?id=D1", "release?id=thermo@2.0.0"):
        page = text(operator.get(path))
        assert "Failures" not in page and "Health" not in page


@pytest.mark.parametrize("name", [*HEALTH, "up"])
def test_a_board_that_sends_only_a_part_of_the_health(cloud, name):
    sent = {"up": 5} if name == "up" else {"health": {name: {"x": 5} if name == "app" else HEALTH[name]}}
    cloud.check_in("D1", cloud.device(), "1.0.0", **sent)
    reply = Session(cloud).get("device?id=D1")
    assert reply.status == 200 and ("x" if name == "app" else name) in text(reply).partition("Health ")[2]
    output = CliRunner(env={"IOTO_DATA": str(cloud.site.data)}).invoke(main, ("device", "show", "D1")).output
    assert "\nHealth " in output


def test_the_commands_show_failures_as_text(failed):
    def run(*arguments):
        return CliRunner(env={"COLUMNS": "200", "IOTO_DATA": str(failed.site.data)}).invoke(main, arguments).output

    device = run("device", "show", "D1")
    assert "Failure: 2.0.0, rolled_back, attempt 1, selftest_failed, reset: soft, " in device
    assert "Failure: 2.0.0, crashed, reset: other, " in device and MARK in device and "\x1b" not in device
    assert re.search(r"^free +81232 +bytes free in MicroPython's heap *$", device, re.M)
    assert re.search(r"^temperature +21.5 +from the application *$", device, re.M)
    release = run("updates", "show", "thermo@2.0.0")
    for output in (device, release):
        assert '  traceback:\n    Traceback (most recent call last):\n      File "main.py", line 3' in output
        assert "  log:\n    12 I start\n    13 E no sensor\n" in output
    assert "Failure on 1 device: selftest_failed: %s (last one" % CAUSE in release
    assert json.loads(run("device", "show", "D1", "--json")) == json.loads(
        json.dumps(overview.device(failed.site, "D1"))
    )
    shown = json.loads(run("updates", "show", "thermo@2.0.0", "--json"))["failures"]
    assert shown == overview.release_failures(failed.site, failed.update)


def test_a_terminal_obeys_nothing_that_is_stored(cloud):
    cloud.check_in("D1", cloud.device(), "1.0.0")
    key = cloud.site.database.read(overview.find_device, "D1")["key"]
    stored = FailureDetails("soft", "a\x1b[2J", "b\x9b")
    cloud.site.database.write(failures.record_crash, key, PRODUCT, "\x1b", stored, cloud.now_s)
    output = CliRunner(env={"IOTO_DATA": str(cloud.site.data)}).invoke(main, ("device", "show", "D1")).output
    assert "    a\\x1b[2J\n" in output and "    b\\x9b\n" in output and "\x1b" not in output


def test_webhooks_are_notified_of_the_first_failure_of_a_group(failed):
    made = webhooks.new(failed.site, "https://hooks.test/", ["release.new_failure", "release.stopped"])
    for n in range(3):
        token, update = offered(failed, "E%d" % n)
        fail(failed, "E%d" % n, token, update, reason="selftest_timeout")
    due = failed.site.database.write(webhooks.lease_due, failed.now_s)
    assert [json.loads(row["detail"])["reason"] for row in due] == ["selftest_timeout"]
    assert {row["webhook"] for row in due} == {made["id"]} and due[0]["subject"] == failed.update


def post(url, token, fields):
    request = urllib.request.Request(url, json.dumps(fields).encode(), {"Authorization": "bearer " + token})
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.loads(reply.read())


@pytest.mark.sweep
def test_from_a_crash_to_the_api_over_http(ioto, serve, tmp_path):
    """One check-in brings a crash, one report a failed trial, to the operators."""
    (tmp_path / "a.py").write_text("print('new')")
    product = json.loads(ioto("product", "new", "thermo", "--json").stdout)["id"]
    ioto("publish", "a.py", "--any-file", "--product", "thermo", "--version", "2.0.0", "--minimum-age", "none")
    _, address = serve()
    token = post(address + "/device/register", product, {"id": "D1"})["token"]
    check_in = address + "/tok/provision/update"
    offer = post(check_in, token, {"id": "D1", "version": "1.0.0", "failure": WRONG, "health": HEALTH})
    report = {"id": "D1", "update": offer["update"], "success": False, "state": "rolled_back", "attempt": 1}
    assert post(address + "/tok/provision/updateReport", token, {**report, "reason": "x", "details": WRONG}) == {}
    reader = json.loads(ioto("token", "new", "jo", "--scope", "read", "--json").stdout)["token"]

    def get(path):
        request = urllib.request.Request(address + "/api/v1" + path, headers={"Authorization": "bearer " + reader})
        with urllib.request.urlopen(request, timeout=30) as reply:
            return json.loads(reply.read())

    assert [(each["state"], each["trace"]) for each in get("/devices/D1")["failures"]] == [
        ("rolled_back", WRONG["trace"]), ("crashed", WRONG["trace"])
    ]  # fmt: skip
    assert [(each["cause"], each["devices"]) for each in get("/releases/thermo@2.0.0/failures")] == [(CAUSE, 1)]
