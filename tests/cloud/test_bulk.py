"""Actions on all devices of a list: what they change, in batches, with one audit row; scopes; interruptions."""

import html
import itertools
import json
import re
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa
from cloud_under_test import call
from device_actions import ask, send_report
from ioto_tools.cloud.api import openapi
from ioto_tools.cloud.http.errors import CloudError, Conflict, Refusal
from ioto_tools.cloud.lists import bulk, device_filter
from ioto_tools.cloud.operators import control, operator_tokens, overview, webhooks
from ioto_tools.cloud.releases.publish import new_product
from ioto_tools.cloud.storage import audit
from ioto_tools.cloud.storage.tables import devices
from web_session import Session, problem, text

N = 9
THERMO = {"product": "thermo"}
SAID = {"retry": {"release": "thermo@2.0.0"}, "claim": THERMO, "remove": THERMO, "pin": THERMO, "unpin": THERMO}
VERSION = {"pin": "1.5.0"}


@pytest.fixture
def fleet(cloud, monkeypatch):
    """N devices, in turn failed, unclaimed and pinned, and one device of another product."""
    monkeypatch.setattr(bulk, "AT_ONCE", 2)
    cloud.update = cloud.publish("2.0.0", stop="none")["id"]
    for n in range(N):
        ask(cloud, "D%d" % n)
        if n % 3 == 0:
            send_report(cloud, "D%d" % n, "failed", reason="selftest_failed")
        elif n % 3 == 1:
            control.unclaim(cloud.site, "D%d" % n)
        else:
            control.pin(cloud.site, "D%d" % n, "1.0.0")
    new_product(cloud.site, "gate", "GATE")
    cloud.register("D0", "GATE")
    return cloud


def prepared(site, action, **more):
    return bulk.prepare(site, device_filter.parse(site, {**SAID[action], **more}), action, VERSION.get(action))


def steps(site, action, **more):
    """Run the action batch by batch; yield each result."""
    done = {"run": None, "after": ""}
    while done["after"] is not None:
        done = bulk.change(site, prepared(site, action, **more), done["run"], done["after"])
        yield done


def rows(cloud):
    """{(product, id): its row}"""
    found = cloud.site.database.read(lambda conn: conn.execute(sa.select(devices)).mappings().all())
    return {(row["product"], row["id"]): dict(row) for row in found}


def newest(cloud, n=1):
    return cloud.site.database.read(audit.newest, n)


# {action: (devices that it changes, check that a row was changed)}
CHANGED = {
    "retry": (range(0, N, 3), lambda row: row["update"]["tries"] == 0),
    "claim": (range(1, N, 3), lambda row: row["claimed"]),
    "remove": (range(N), lambda row: row["removed"]),
    "pin": (range(N), lambda row: row["pin"] == "1.5.0"),
    "unpin": (range(2, N, 3), lambda row: row["pin"] is None),
}


@pytest.mark.parametrize("action", bulk.ACTIONS)
def test_each_action_changes_exactly_the_devices_that_need_it(fleet, action):
    before, events, now = rows(fleet), len(newest(fleet, 1000)), prepared(fleet.site, action)
    numbers, holds = CHANGED[action]
    assert bulk.count(fleet.site, now)["found"] == len(numbers)
    done = list(steps(fleet.site, action))
    assert done[-1]["devices"] == len(numbers) and len({each["run"] for each in done} - {None}) == 1
    assert max(b["devices"] - a["devices"] for a, b in itertools.pairwise([{"devices": 0}, *done])) <= 2
    for n in numbers:
        assert holds(overview.device(fleet.site, "D%d" % n, "thermo")), n
    others = {key: row for key, row in rows(fleet).items() if key[0] == "GATE" or int(key[1][1:]) not in numbers}
    assert others and others == {key: before[key] for key in others} or action in ("remove", "pin")
    [row] = newest(fleet, len(newest(fleet, 1000)) - events)
    assert row["action"] == bulk.ACTIONS[action][1] and row["subject"] == now.subject
    assert row["detail"] == {**now.detail, "devices": len(numbers), "finished": True}
    assert bulk.count(fleet.site, now)["found"] == 0
    assert list(steps(fleet.site, action))[-1] == {"run": None, "devices": 0, "after": None}  # and no row
    assert len(newest(fleet, 1000)) == events + 1


def test_the_filter_limits_the_action(fleet):
    list(steps(fleet.site, "pin", claimed="no", q="d4"))
    pins = {row["id"]: row["pin"] for row in overview.devices(fleet.site, "thermo")}
    assert [id for id, version in pins.items() if version == "1.5.0"] == ["D4"]
    assert newest(fleet)[0]["detail"]["filter"] == "product=thermo&claimed=no&q=d4"


def test_workers_obey_at_once(fleet):
    list(steps(fleet.site, "remove", id="D0"))
    reply = fleet.check_in("D0", fleet.tokens["D0"], "1.0.0")
    assert (reply.status, reply.body) == (404, b"Cannot find device")
    list(steps(fleet.site, "retry", id="D3"))
    assert ask(fleet, "D3") == "2.0.0"


def test_interrupted_action_leaves_the_rest_unchanged_and_can_continue(fleet):
    done = next(steps(fleet.site, "pin"))
    pinned = [n for n in range(N) if overview.device(fleet.site, "D%d" % n, "thermo")["pin"] == "1.5.0"]
    assert pinned == [0, 1] and newest(fleet)[0]["detail"] == {
        "version": "1.5.0", "filter": "product=thermo", "devices": 2, "finished": False,
    }  # fmt: skip
    while done["after"] is not None:
        done = bulk.change(fleet.site, prepared(fleet.site, "pin"), done["run"], done["after"])
    assert newest(fleet)[0]["detail"]["devices"] == done["devices"] == N


def test_repeated_request_changes_and_counts_nothing_twice(fleet):
    for action in ("pin", "claim", "retry"):
        first = next(steps(fleet.site, action))
        again = bulk.change(fleet.site, prepared(fleet.site, action), first["run"], "")
        assert again["run"] == first["run"]
        while again["after"] is not None:
            again = bulk.change(fleet.site, prepared(fleet.site, action), again["run"], again["after"])
        assert again["devices"] == len(CHANGED[action][0]) == newest(fleet)[0]["detail"]["devices"]


def test_a_run_belongs_to_its_operator_action_and_filter(fleet):
    run = next(steps(fleet.site, "pin"))["run"]
    other = fleet.site.acting("operator other", "admin")
    for site, now in (
        (other, prepared(other, "pin")),
        (fleet.site, prepared(fleet.site, "unpin")),
        (fleet.site, prepared(fleet.site, "pin", q="D")),
    ):
        for number in (run, run + 1, 1, 2**53):
            before = rows(fleet)
            with pytest.raises(Conflict, match="run [0-9]+: it is not an unfinished run of this action"):
                bulk.change(site, now, number)
            assert rows(fleet) == before
    finished = list(steps(fleet.site, "unpin"))[-1]["run"]
    with pytest.raises(Conflict):
        bulk.change(fleet.site, prepared(fleet.site, "unpin"), finished)


def test_what_an_action_needs(fleet):
    parse = lambda **said: device_filter.parse(fleet.site, said)
    for said, action, version, words in (
        ({}, "remove", None, "remove: for the devices of which product"),
        ({"product": "thermo"}, "retry", None, "retry: of which update"),
        ({"product": "thermo"}, "pin", None, "pin: expected: the version"),
        ({"product": "thermo"}, "pin", "x", "version x: "),
        ({"product": "thermo"}, "claim", "1.0.0", "pin: only for the action pin"),
        ({"product": "thermo"}, "explode", None, "action explode: expected: one of retry, claim"),
    ):
        with pytest.raises(CloudError, match=words):
            bulk.prepare(fleet.site, parse(**said), action, version)
    control.change_state(fleet.site, fleet.update, "cancelled")
    with pytest.raises(Conflict, match="thermo 2.0.0 is cancelled"):
        prepared(fleet.site, "retry")
    with pytest.raises(Refusal, match="claim needs a token with the scope admin; yours has the scope publish"):
        bulk.prepare(fleet.site.acting("operator jo", "publish"), parse(product="thermo"), "claim")


def test_webhook_gets_the_final_number(fleet):
    webhooks.new(fleet.site, "http://127.0.0.1:1/")
    leased = lambda: [row["detail"] for row in fleet.site.database.write(webhooks.lease_due, fleet.now_s)]
    work = steps(fleet.site, "pin")
    next(work)
    assert not any("finished" in each for each in map(str, leased()))
    list(work)
    found = [each if isinstance(each, dict) else json.loads(each) for each in leased()]
    assert [(each["devices"], each["finished"]) for each in found if "finished" in each] == [(N, True)]


# ---- page, API, command line


def test_page_counts_asks_and_shows_the_progress(fleet):
    operator = Session(fleet)
    body = operator.get("devices?product=thermo&silent=no").body.decode()
    form = re.search(r'<form action="bulk">(.*?value="claim".*?)</form>', body, re.S)[1]
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form.rpartition("<form")[2]))
    page = operator.get("bulk?" + urlencode({"product": "thermo", "silent": "no", "action": "claim"}))
    assert fields["action"] == "claim" and fields["product"] == "thermo" and fields["silent"] == "no"
    assert "Claim" in text(page) and "silent no" in text(page)
    while more := re.search(r'hx-get="(bulk-count[^"]*)"', page.body.decode()):
        page = operator.get(html.unescape(more[1]))
    assert text(page).startswith("3 devices. The next client that registers")
    seen = []
    while fields := dict(re.findall(r'name="(\w+)" value="([^"]*)"', page.body.decode())):
        page = operator.send("bulk", {name: html.unescape(value) for name, value in fields.items()})
        assert page.status == 200, page.body
        seen.append(text(page))
    assert re.match("2 of 3 devices", seen[0]) and seen[-1] == "Finished: 3 devices."
    assert all(row["claimed"] for row in overview.devices(fleet.site, "thermo"))
    assert newest(fleet)[0]["who"] == "operator jo" and "bulk" not in operator.get("devices").body.decode()


def test_page_scopes(fleet):
    for scope, shown in (("read", set()), ("publish", {"retry"}), ("admin", set(bulk.ACTIONS))):
        operator = Session(fleet, scope, scope)
        body = operator.get("devices?release=thermo@2.0.0").body.decode()
        assert set(re.findall(r'name="action" value="(\w+)"', body)) == shown
        for action in set(bulk.ACTIONS) - shown:
            fields = {"product": "thermo", "release": "thermo@2.0.0", "action": action, "pin": VERSION.get(action, "")}
            before = rows(fleet)
            assert operator.get("bulk?" + urlencode(fields)).status == 403
            reply = operator.post("bulk", fields)
            assert reply.status == 403 and "yours has the scope " + scope in problem(reply) and rows(fleet) == before


def request(cloud, token, path, said, body):
    headers = {"authorization": "bearer " + token, "content-type": "application/json"}
    path = "%s/devices/%s?%s" % (openapi.PREFIX, path, urlencode(said))
    return call(cloud.app, "POST", path, headers, json.dumps(body).encode())


def test_api(fleet):
    token = operator_tokens.new(fleet.site, "jo", "admin")["token"]
    for path, said, body, numbers in (
        ("retry", {"release": "thermo@2.0.0", "state": "failed"}, {}, CHANGED["retry"][0]),
        ("change", {"product": "thermo", "version": "1.0.0"}, {"action": "pin", "pin": "1.5.0"}, range(N)),
        ("change", {"product": "thermo"}, {"action": "claim"}, CHANGED["claim"][0]),
    ):
        before = rows(fleet)
        reply = request(fleet, token, path, said, {**body, "dry_run": True}).json()
        assert reply == {"run": None, "devices": len(numbers), "after": None} and rows(fleet) == before
        found = {"after": ""}
        while found["after"] is not None:
            sent = {name: value for name, value in found.items() if name in ("run", "after") and value}
            found = request(fleet, token, path, said, {**body, **sent}).json()
        assert found["devices"] == len(numbers)
    refused = request(fleet, token, "change", {}, {"action": "remove"})
    assert refused.status == 400 and "which product" in refused.json()["error"]
    limited = operator_tokens.new(fleet.site, "jane", "publish")["token"]
    assert request(fleet, limited, "change", {"product": "thermo"}, {"action": "remove"}).status == 403


def test_operator_with_a_limited_token(fleet):
    token = operator_tokens.new(fleet.site, "jo", "admin", products=["gate"])["token"]
    before = rows(fleet)
    assert request(fleet, token, "change", {"product": "thermo"}, {"action": "remove"}).status == 404
    assert request(fleet, token, "retry", {"release": fleet.update}, {}).status == 404
    assert rows(fleet) == before
    assert request(fleet, token, "change", {"product": "gate"}, {"action": "remove"}).json()["devices"] == 1


@pytest.mark.sweep
def test_command(fleet, ioto):
    site = ("--data", fleet.folder / "site")
    before = rows(fleet)
    refused = ioto("devices", *site, "--product", "thermo", "--remove", ok=False)  # no answer to the question
    assert refused.returncode == 1 and "remove: 9 devices. Continue?" in refused.stdout and rows(fleet) == before
    assert ioto("devices", *site, "--product", "thermo", "--claim", "-y").stdout == "3 devices claimed\n"
    assert ioto("devices", *site, "--product", "thermo", "--claim", "-y").stdout == "no device of the list needs this\n"
    found = ioto("devices", *site, "--release", "thermo@2.0.0", "--state", "failed", "--retry", "-y")
    assert found.stdout == "3 devices offered it again\n"
    assert newest(fleet)[0]["detail"]["finished"] is True and newest(fleet)[0]["who"].startswith("command line ")
    assert "give one of" in ioto("devices", *site, "--claim", "--unpin", ok=False).stderr
    assert "list them without it" in ioto("devices", *site, "--claim", "--csv", ok=False).stderr
