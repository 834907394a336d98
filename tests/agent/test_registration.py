"""Registration: an attacker who poses as Builder and cloud for an hour takes over no board.

A board also finds an api that has moved.
"""

import json

import pytest
from ioto_tools.cloud.operators import overview
from ioto_tools.virtual_board.peers import AsgiServer, ScriptedServer, http_response
from rig import Rig, secure
from signing import installed, sealed, trusting

HOUR, DAY = 3600, 86400


def json_reply(*found):
    return [http_response(json.dumps(found[0]).encode(), *found[1:])]


class Thief:
    """An attacker with certificates for the hosts of Builder and cloud, from an authority in tls.ca."""

    def __init__(self, api):
        self.api = api
        self.asked = []

    def answer(self, method, path, headers, body):
        self.asked.append((path, headers.get("authorization")))
        if path.endswith("/register"):
            return json_reply({"api": self.api, "token": "STOLEN", "registered": True})
        if headers.get("authorization") == "bearer STOLEN":
            return json_reply({})
        return [http_response(b"Authentication failed", 401)]


def test_api_on_another_host_is_refused(tmp_path):
    rig, cloud = trusting(tmp_path / "rig")
    elsewhere = []
    rig.air.names["evil.test"] = "10.0.7.7"
    rig.air.peers[("10.0.7.7", 443)] = secure(
        ScriptedServer(lambda *request: elsewhere.append(request) or json_reply({}))
    )
    honest = {host: rig.air.peers[(rig.air.names[host], 443)] for host in ("builder.test", "api.test")}
    rig.run(until_s=HOUR)
    thief = Thief("https://evil.test")
    for host in honest:
        rig.air.peers[(rig.air.names[host], 443)] = secure(ScriptedServer(thief.answer))
    run = rig.run(until_s=HOUR)
    assert "url_invalid" in run.console and thief.asked and not elsewhere, run.console
    for host, peer in honest.items():
        rig.air.peers[(rig.air.names[host], 443)] = peer
    cloud.release("1.0.1", sealed(rig.image(1), "1.0.1"))
    installed(rig, rig.run(until_s=2 * HOUR))
    assert not elsewhere


@pytest.mark.sweep
def test_old_token_is_used_again_after_one_from_a_thief(tmp_path):
    """The cloud refuses to register the id, as its first token is in use; the board at once tries that token again."""
    rig = Rig(tmp_path)
    rig.run(until_s=HOUR)
    address = rig.air.names["cloud.test"], 443
    thief = Thief("https://cloud.test")
    rig.air.peers[address] = secure(ScriptedServer(thief.answer))
    rig.run(until_s=HOUR)
    assert ("/tok/provision/update", "bearer STOLEN") in thief.asked
    rig.air.peers[address] = secure(AsgiServer(rig.app))
    rig.publish(rig.image(1), "1.0.1")
    run = rig.run(until_s=3 * HOUR)
    assert run.slots == ["ota_0", "ota_1"] and "CONFIRMED 1.0.1" in run.console, run.console[-1500:]
    assert overview.devices(rig.site)[0]["registrations"] == 1


@pytest.mark.sweep
@pytest.mark.parametrize(
    "hosts, goes",
    [([".test"], True), (["images.test"], True), (["ages.test"], False), ([".images.test"], False), ([], False)],
)
def test_moved_api_is_found_within_a_week(tmp_path, hosts, goes):
    """The old api still answers, without an offer. Only a host in registration.hosts is accepted."""
    rig, cloud = trusting(tmp_path / "rig", registration__hosts=["api.test", *hosts], update__period="6 hours")
    rig.run(until_s=HOUR)
    token = cloud.devices["DEVICE0001"]["token"]
    asked = []

    def builder(method, path, headers, body):
        asked.append(rig.now())
        return json_reply({"api": "https://images.test", "token": token, "registered": True})

    rig.air.peers[(rig.air.names["builder.test"], 443)] = secure(ScriptedServer(builder))
    rig.air.peers[(rig.air.names["api.test"], 443)] = secure(ScriptedServer(lambda *request: json_reply({})))
    cloud.release("1.0.1", sealed(rig.image(1), "1.0.1"))
    run = rig.run(until_s=8 * DAY)
    assert ("CONFIRMED 1.0.1" in run.console) == goes, run.console[-1500:]
    assert goes or "registration.hosts" in run.console
    assert len(asked) == 1  # a week after the registration


@pytest.mark.sweep
def test_builder_that_is_silent_or_refuses_changes_nothing(tmp_path):
    rig, cloud = trusting(tmp_path / "rig", update__period="6 hours")
    rig.run(until_s=HOUR)
    answers = [
        [],
        [http_response(b"Cannot find device", 404)],
        json_reply({"id": "x", "registered": True}),
        [http_response(b"<html>", 500)],
    ]
    asked = []

    def builder(*request):
        asked.append(request)
        return answers[len(asked) % len(answers)]

    rig.air.peers[(rig.air.names["builder.test"], 443)] = secure(ScriptedServer(builder))
    kept = json.loads(rig.board.files()["state/provision.json"])
    rig.run(until_s=30 * DAY)
    now = json.loads(rig.board.files()["state/provision.json"])
    assert 3 <= len(asked) <= 6 and {key: now[key] for key in kept if key != "asked"} == {
        key: kept[key] for key in kept if key != "asked"
    }
    cloud.release("1.0.1", sealed(rig.image(1), "1.0.1"))
    installed(rig, rig.run(until_s=7 * HOUR))
