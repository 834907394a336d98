"""Where registration leads: an hour in which somebody else is Builder and cloud takes no board away, and an api that
moves is found.
"""

import json

import pytest
from ioto_tools.board.peers import Asgi, Script, reply
from ioto_tools.cloud.operators import overview
from rig import Rig, secure
from signing import installed, sealed, trusting

HOUR, DAY = 3600, 86400


def say(*found):
    return [reply(json.dumps(found[0]).encode(), *found[1:])]


class Thief:
    """Has a certificate for the hosts of Builder and cloud, of an authority in tls.ca."""

    def __init__(self, api):
        self.api = api
        self.asked = []

    def answer(self, method, path, headers, body):
        self.asked.append((path, headers.get("authorization")))
        if path.endswith("/register"):
            return say({"api": self.api, "token": "STOLEN", "registered": True})
        if headers.get("authorization") == "bearer STOLEN":
            return say({})
        return [reply(b"Authentication failed", 401)]


def test_an_api_on_another_host_is_not_followed(tmp_path):
    rig, cloud = trusting(tmp_path / "rig")
    elsewhere = []
    rig.air.names["evil.test"] = "10.0.7.7"
    rig.air.peers[("10.0.7.7", 443)] = secure(Script(lambda *request: elsewhere.append(request) or say({})))
    honest = {host: rig.air.peers[(rig.air.names[host], 443)] for host in ("builder.test", "api.test")}
    rig.run(until_s=HOUR)
    thief = Thief("https://evil.test")
    for host in honest:
        rig.air.peers[(rig.air.names[host], 443)] = secure(Script(thief.answer))
    run = rig.run(until_s=HOUR)
    assert "url_invalid" in run.console and thief.asked and not elsewhere, run.console
    for host, peer in honest.items():
        rig.air.peers[(rig.air.names[host], 443)] = peer
    cloud.release("1.0.1", sealed(rig.image(1), "1.0.1"))
    installed(rig, rig.run(until_s=2 * HOUR))
    assert not elsewhere


def test_a_token_that_a_thief_gave_is_followed_by_the_old_one(tmp_path):
    """The cloud refuses the id, as its first token is in use: that one is tried again, at once."""
    rig = Rig(tmp_path)
    rig.run(until_s=HOUR)
    address = rig.air.names["cloud.test"], 443
    thief = Thief("https://cloud.test")
    rig.air.peers[address] = secure(Script(thief.answer))
    rig.run(until_s=HOUR)
    assert ("/tok/provision/update", "bearer STOLEN") in thief.asked
    rig.air.peers[address] = secure(Asgi(rig.app))
    rig.publish(rig.image(1), "1.0.1")
    run = rig.run(until_s=3 * HOUR)
    assert run.slots == ["ota_0", "ota_1"] and "CONFIRMED 1.0.1" in run.console, run.console[-1500:]
    assert overview.devices(rig.site)[0]["registrations"] == 1


@pytest.mark.parametrize(
    "hosts, goes",
    [([".test"], True), (["images.test"], True), (["ages.test"], False), ([".images.test"], False), ([], False)],
)
def test_an_api_that_moves_is_found_within_a_week(tmp_path, hosts, goes):
    """The old one goes on answering, and has nothing new. Only a host of the configuration is followed."""
    rig, cloud = trusting(tmp_path / "rig", registration__hosts=["api.test", *hosts], update__period="6 hours")
    rig.run(until_s=HOUR)
    token = cloud.devices["DEVICE0001"]["token"]
    asked = []

    def builder(method, path, headers, body):
        asked.append(rig.now())
        return say({"api": "https://images.test", "token": token, "registered": True})

    rig.air.peers[(rig.air.names["builder.test"], 443)] = secure(Script(builder))
    rig.air.peers[(rig.air.names["api.test"], 443)] = secure(Script(lambda *request: say({})))
    cloud.release("1.0.1", sealed(rig.image(1), "1.0.1"))
    run = rig.run(until_s=8 * DAY)
    assert ("CONFIRMED 1.0.1" in run.console) == goes, run.console[-1500:]
    assert goes or "registration.hosts" in run.console
    assert len(asked) == 1  # a week after the registration


def test_a_builder_that_is_silent_or_says_no_changes_nothing(tmp_path):
    rig, cloud = trusting(tmp_path / "rig", update__period="6 hours")
    rig.run(until_s=HOUR)
    answers = [[], [reply(b"Cannot find device", 404)], say({"id": "x", "registered": True}), [reply(b"<html>", 500)]]
    asked = []

    def builder(*request):
        asked.append(request)
        return answers[len(asked) % len(answers)]

    rig.air.peers[(rig.air.names["builder.test"], 443)] = secure(Script(builder))
    kept = json.loads(rig.board.files()["state/provision.json"])
    rig.run(until_s=30 * DAY)
    now = json.loads(rig.board.files()["state/provision.json"])
    assert 3 <= len(asked) <= 6 and {key: now[key] for key in kept if key != "asked"} == {
        key: kept[key] for key in kept if key != "asked"
    }
    cloud.release("1.0.1", sealed(rig.image(1), "1.0.1"))
    installed(rig, rig.run(until_s=7 * HOUR))
