"""Which client can act as a device: takeovers, leaked tokens, prepared ids, restarts and restores."""

import json

import pytest
from cloud_under_test import PRODUCT, Cloud, call
from device_actions import DAY, FORGET, ask, audited_subjects, is_accepted
from ioto_tools.cloud.devices import registration, tokens
from ioto_tools.cloud.http.addresses import client_network
from ioto_tools.cloud.http.errors import Refusal
from ioto_tools.cloud.operators import control, overview
from ioto_tools.cloud.releases.publish import new_product
from ioto_tools.cloud.storage import audit
from other_clients import Complaint, IotoAgent

HOUR = 3600
ELSEWHERE = "198.51.100.7"


def doubts(cloud, id="D1"):
    return [each["says"] for each in overview.device(cloud.site, id)["doubts"]]


# ---- an id that is taken over while its owner is silent


@pytest.mark.sweep
def test_repeated_registrations_while_the_owner_is_silent_do_not_displace_it(cloud):
    owner = cloud.device()
    assert is_accepted(cloud, owner)
    update = cloud.publish("2.0.0")["id"]
    for round in range(30):
        cloud.now_s += tokens.QUIET_S
        for n in range(4):  # from one address or from several; each token is used for reports
            reply = cloud.register("D1", address="192.0.2.%d" % (n if round % 2 else 0), round=round)
            assert reply.status == (409 if n and round % 2 else 200)
            if reply.status == 200:
                thief = reply.json()["token"]
                assert cloud.report("D1", thief, update, state="downloading").status == 200
    assert (
        "the device registered again after silence: its flash was erased, or another board uses its id; in the second "
        "case, run `ioto device revoke`" in doubts(cloud)
    )
    assert is_accepted(cloud, owner) and cloud.check_in("D1", thief, "1.0.0").body == FORGET
    assert audited_subjects(cloud, "device.again") == ["D1"] * 30 and audited_subjects(cloud, "device.taken_over") == [
        "D1"
    ]
    assert cloud.register("D1", address=ELSEWHERE).status == 409 and is_accepted(cloud, owner)


@pytest.mark.sweep
def test_unused_registrations_during_silence_are_recorded_once(cloud):
    is_accepted(cloud, cloud.device())
    cloud.now_s += tokens.QUIET_S
    for _ in range(48):
        assert cloud.register("D1", address=ELSEWHERE).status == 200
        cloud.now_s += HOUR
    assert len(audited_subjects(cloud, "device.again")) == 1


# ---- a token that leaked


def test_after_revoke_no_client_gets_a_token_before_an_operator_claims_the_device(cloud):
    owner = cloud.device()
    is_accepted(cloud, owner)
    control.revoke(cloud.site, "D1")
    assert cloud.check_in("D1", owner, "1.0.0").body == FORGET
    for address in (ELSEWHERE, "device.test"):
        assert cloud.register("D1", address=address).json() == {"registered": True, "id": "D1"}
    control.claim(cloud.site, "D1")
    lost = cloud.device()  # its answer is lost
    owner = cloud.device()
    assert not is_accepted(cloud, lost) and is_accepted(cloud, owner)
    assert cloud.register("D1", address=ELSEWHERE).status == 409 and is_accepted(cloud, owner)


def test_the_use_of_a_rotated_token_by_two_clients_is_detected_and_shown(cloud):
    owner = cloud.device()
    is_accepted(cloud, owner)
    control.rotate(cloud.site, ["D1"])
    first = cloud.check_in("D1", owner, "1.0.0").json()["token"]  # received by a thief with the leaked token
    cloud.now_s += HOUR
    second = cloud.check_in("D1", owner, "1.0.0").json()["token"]
    assert is_accepted(cloud, second) and doubts(cloud) == []
    for number, late in enumerate((owner, first), 1):
        for _ in range(3):
            assert cloud.check_in("D1", late, "1.0.0").body == cloud.report("D1", late, "U").body == FORGET
        assert audited_subjects(cloud, "device.two_hold") == ["D1"] * number
    assert (
        doubts(cloud)
        == [
            "a token was used after another one had replaced it, so two boards have this device's tokens: run `ioto "
            "device revoke`, then `ioto device claim`"
        ]
        * 2
    )
    assert is_accepted(cloud, second)
    control.rotate(cloud.site, ["D1"])
    assert is_accepted(cloud, cloud.check_in("D1", second, "1.0.0").json()["token"])
    assert cloud.post("/tok/device/provision", {"id": "D1"}, second).body == FORGET  # the same for every call
    assert audited_subjects(cloud, "device.two_hold") == ["D1"] * 3
    control.revoke(cloud.site, "D1")
    control.claim(cloud.site, "D1")
    assert is_accepted(cloud, cloud.device()) and doubts(cloud) == []


@pytest.mark.sweep
def test_a_client_that_does_not_accept_a_new_token_is_named(cloud, ioto):
    held = {id: cloud.device(id) for id in ("OURS", "UPDATER", "NEVER")}
    for id, said in (("OURS", {"accepts": ["raw"]}), ("UPDATER", {"pro": "true"})):
        assert cloud.check_in(id, held[id], "1.0.0", **said).status == 200
    assert [control.rotate(cloud.site, [id]) for id in held] == [(1, []), (1, [("UPDATER", "thermo")]), (1, [])]
    done = ioto("device", "rotate", "--product", "thermo", "--data", "site")
    assert done.stdout == "2 devices get a new token at the next check-in\n"
    assert "Warning: device UPDATER: the client is not this project's agent, so it keeps its old token" in done.stderr
    assert "`ioto device new UPDATER --product thermo`" in done.stderr
    assert ioto("device", "rotate", "UPDATER", "--data", "site").stdout == ""
    assert [len(doubts(cloud, id)) for id in held] == [0, 1, 0] and "keeps its old one" in doubts(cloud, "UPDATER")[0]
    token = json.loads(ioto("device", "new", "UPDATER", "--product", "thermo", "--json", "--data", "site").stdout)[
        "token"
    ]  # as the warning proposes
    assert (
        is_accepted(cloud, held["UPDATER"], "UPDATER")
        and is_accepted(cloud, token, "UPDATER")
        and not is_accepted(cloud, held["UPDATER"], "UPDATER")
    )
    assert not any("keeps its old one" in each for each in doubts(cloud, "UPDATER"))


def test_a_pending_rotation_is_not_voided_by_a_registration(cloud):
    owner = cloud.device()
    is_accepted(cloud, owner)
    control.rotate(cloud.site, ["D1"])
    new = cloud.check_in("D1", owner, "1.0.0").json()["token"]
    cloud.now_s += tokens.QUIET_S
    thief = cloud.device(address=ELSEWHERE)
    assert (
        is_accepted(cloud, thief)
        and is_accepted(cloud, new)
        and not is_accepted(cloud, thief)
        and is_accepted(cloud, new)
    )


# ---- an id that an operator has prepared


def test_a_prepared_id_can_only_be_used_with_the_operators_token(cloud):
    new_product(cloud.site, "hand", "HAND", by_hand=True)
    for id, product in (("D1", PRODUCT), ("D2", "HAND")):
        token = registration.register_by_hand(cloud.site, product, id)
        for _ in range(3):
            refused = cloud.register(id, product, address=ELSEWHERE)
            assert refused.status == 409 and "ioto device claim" in refused.json()["error"]
        fields = {"id": id, "version": "1.0.0"}
        assert cloud.post("/tok/provision/update", fields, "bearer " + token).status == 200
    other = registration.register_by_hand(cloud.site, PRODUCT, "D3")
    control.claim(cloud.site, "D3")  # now the board may register by itself
    assert is_accepted(cloud, cloud.device("D3"), "D3") and not is_accepted(cloud, other, "D3")


@pytest.mark.sweep
def test_refused_registrations_are_counted_but_rarely_audited(cloud):
    owner = cloud.device()
    assert is_accepted(cloud, owner) and cloud.register("D1", address="192.0.2.0").status == 409
    assert doubts(cloud) == ["a registration with this id was refused, from 192.0.2.0"]
    for hour in range(72):
        assert is_accepted(cloud, owner)
        for n in range(5):
            assert cloud.register("D1", address="192.0.2.%d" % n).status == 409
        cloud.now_s += HOUR
    assert len(audited_subjects(cloud, "device.refused")) == 1  # because no day passed without a refusal
    assert doubts(cloud) == ["361 registrations with this id were refused, the last one from 192.0.2.4"]
    assert overview.device(cloud.site, "D1")["registrations"] == 1
    assert cloud.site.database.read(audit.newest, 1, "D1")[0]["detail"] == {"product": "thermo", "address": "192.0.2.0"}
    cloud.now_s += DAY
    assert is_accepted(cloud, owner) and cloud.register("D1", address=ELSEWHERE).status == 409
    assert len(audited_subjects(cloud, "device.refused")) == 2


# ---- a program that does not keep its token


def requests_from(cloud, address="device.test"):
    """The function with which the clients of other_clients.py send requests from this address."""

    def request(method, url, headers, body):
        path = "/" + url.partition("//")[2].partition("/")[2]
        reply = call(cloud.app, method, path, headers, body, address=address)
        return reply.status, list(reply.headers.items()), reply.body

    return request


@pytest.mark.sweep
@pytest.mark.own_links
def test_iotos_c_agent_with_a_fixed_id_can_register_at_each_start(cloud):
    """The agent never saves its token; it starts again after an update with `restart`, and then every minute."""
    device = {"id": "IOTO1", "product": PRODUCT, "pro": True, "memory": 256, "version": "1.0.0", "iotoVersion": "2.7.0"}
    agent = IotoAgent(requests_from(cloud), "https://updates.test", PRODUCT, device, keeps=False)
    cloud.publish("2.0.0")
    assert agent.update("1.0.0")
    device.update(version="2.0.0", iotoVersion="2.8.0")  # `restart` starts another version
    for minute in range(100):
        agent.restart()
        assert agent.update("2.0.0") is None
        cloud.now_s += 60
    assert (
        len(cloud.site.database.read(tokens.all_tokens, cloud.site.database.read(overview.find_device, "IOTO1")["key"]))
        <= 9
    )
    assert overview.device(cloud.site, "IOTO1")["registrations"] == 101 and doubts(cloud, "IOTO1") == []
    assert audited_subjects(cloud, "device.again") == audited_subjects(cloud, "device.refused") == []


def test_a_registration_that_is_not_a_restart_is_refused(cloud):
    device = {"id": "IOTO1", "product": PRODUCT, "pro": True, "memory": 256}
    agent = IotoAgent(requests_from(cloud), "https://updates.test", PRODUCT, device)
    agent.update("1.0.0")
    for other, address in (
        (device, ELSEWHERE),
        ({**device, "memory": 512}, "device.test"),
        ({"id": "IOTO1"}, "device.test"),
    ):
        try:
            IotoAgent(requests_from(cloud, address), "https://updates.test", PRODUCT, other).update("1.0.0")
        except Complaint as e:
            assert "has a token" in str(e)
        else:
            raise AssertionError((other, address))
    # A thief behind the same router who knows all properties has access only until the device's next request.
    thief = IotoAgent(requests_from(cloud), "https://updates.test", PRODUCT, device)
    thief.update("1.0.0")
    assert agent.update("1.0.0") is None and thief.update("1.0.0") is None and thief.provision == {}
    assert audited_subjects(cloud, "device.taken_over") == ["IOTO1"]
    assert cloud.register(**device).status == 409
    # A board with this project's agent keeps its token, whatever its address.
    cloud.check_in("D2", cloud.device("D2"), "1.0.0", accepts=["raw"])
    assert cloud.register("D2").status == 409


# ---- a backup that is older than the devices' tokens


def test_devices_of_a_restored_site_can_register_again_at_once(tmp_path, kind):
    from ioto_tools.cloud.site import backup

    cloud = Cloud(tmp_path, kind)
    kept, exchanged, quiet = (cloud.device(id) for id in ("KEPT", "EXCHANGED", "QUIET"))
    for id, token in (("KEPT", kept), ("EXCHANGED", exchanged), ("QUIET", quiet)):
        assert is_accepted(cloud, token, id)
    backup.backup(cloud.folder / "site", tmp_path / "backup", lambda *_: None)
    cloud.now_s += HOUR
    control.rotate(cloud.site, ["EXCHANGED"])
    new = cloud.check_in("EXCHANGED", exchanged, "1.0.0").json()["token"]
    assert is_accepted(cloud, new, "EXCHANGED")
    cloud.close()
    mark = json.loads((tmp_path / "backup" / "copy.json").read_text())
    mark["at_s"] = cloud.now_s - HOUR  # the command does not use the test's clock
    (tmp_path / "backup" / "copy.json").write_text(json.dumps(mark))
    (tmp_path / "again" / "site").mkdir(parents=True)
    (tmp_path / "again" / "site" / "site.toml").write_text(kind.settings())
    backup.restore(tmp_path / "backup", tmp_path / "again" / "site", lambda *_: None)
    restored = Cloud.__new__(Cloud)
    restored.__dict__.update(cloud.__dict__, folder=tmp_path / "again")
    restored.app = _served(restored)
    restored.site = restored.app.state.site
    restored.now_s = cloud.now_s
    assert [
        row["subject"] for row in restored.site.database.read(audit.newest) if row["action"] == "site.restored"
    ] == ["site"]
    assert is_accepted(restored, kept, "KEPT") and restored.register("KEPT", address=ELSEWHERE).status == 409
    assert not is_accepted(restored, new, "EXCHANGED")  # the device deletes the token and registers again
    again = restored.device("EXCHANGED", address=ELSEWHERE)
    assert (
        is_accepted(restored, again, "EXCHANGED") and restored.register("EXCHANGED", address="192.0.2.1").status == 409
    )
    assert is_accepted(restored, quiet, "QUIET")
    restored.close()


def _served(cloud):
    from ioto_tools.cloud.app import create_app

    return create_app(
        cloud.folder / "site",
        "https://updates.test",
        clock=lambda: cloud.now_s,
        random_bytes=cloud.random,
        threads=False,
        rate=0,
    )


# ---- fake devices


def test_new_devices_of_a_product_are_limited_and_reported(tmp_path, kind):
    cloud = Cloud(tmp_path, kind, new_per_hour=50)
    owner = cloud.device("OLD")
    is_accepted(cloud, owner, "OLD")
    cloud.now_s += HOUR
    replies = [cloud.register("FAKE%d" % n) for n in range(200)]
    assert [reply.status for reply in replies] == [200] * 50 + [429] * 150
    assert 0 < int(replies[-1].headers["retry-after"]) <= HOUR + 1
    assert audited_subjects(cloud, "product.many_new") == [PRODUCT]
    assert is_accepted(cloud, owner, "OLD") and cloud.register("FAKE1").status == 200  # known devices are not limited
    cloud.now_s += HOUR
    assert cloud.register("NEW").status == 200
    cloud.close()


def test_devices_registered_while_the_clock_was_ahead_do_not_use_up_the_limit(tmp_path, kind):
    """The clock was a year ahead: the limit and its audit row work as before."""
    cloud = Cloud(tmp_path, kind, new_per_hour=3)
    cloud.now_s += 365 * DAY
    assert [cloud.register("A%d" % n).status for n in range(4)] == [200] * 3 + [429]
    cloud.now_s -= 365 * DAY
    assert [cloud.register("B%d" % n).status for n in range(4)] == [200] * 3 + [429]
    assert len(audited_subjects(cloud, "product.many_new")) == 2
    cloud.now_s += HOUR
    assert cloud.register("C").status == 200
    cloud.close()


def test_refusals_and_rotations_recover_after_the_clock_was_ahead(cloud):
    """Once the clock is right again, a refusal is recorded and a new token is sent, not a year later."""
    token = cloud.device()
    assert is_accepted(cloud, token)
    cloud.now_s += 365 * DAY
    assert is_accepted(cloud, token) and cloud.register("D1", address=ELSEWHERE).status == 409
    control.rotate(cloud.site, ["D1"])
    assert cloud.check_in("D1", token, "1.0.0").json()["token"]  # the answer is lost
    cloud.now_s -= 365 * DAY
    assert cloud.check_in("D1", token, "1.0.0").json()["token"] and cloud.check_in("D1", token, "1.0.0").json() == {}
    assert cloud.register("D1", address=ELSEWHERE).status == 409
    assert audited_subjects(cloud, "device.refused") == ["D1", "D1"]


def test_only_a_few_properties_of_an_unclaimed_device_are_stored(cloud):
    new_product(cloud.site, "hand", "HAND", by_hand=True)
    created = "2026-01-01T00:00:00Z"
    said = {"junk": "x" * 9000, "model": "thermo", "list": [1] * 1100, "note": "y" * 1500, "more": "z" * 1500}
    assert cloud.register("D1", "HAND", **said).json() == {"registered": True, "id": "D1"}
    assert overview.device(cloud.site, "D1")["properties"] == {
        "id": "D1",
        "created": created,
        "model": "thermo",
        "note": "y" * 1500,
    }
    control.claim(cloud.site, "D1")
    assert cloud.register("D1", "HAND", **said).json()["token"]
    assert overview.device(cloud.site, "D1")["properties"] == {"id": "D1", "created": created, **said}


def test_registrations_from_one_address_are_limited(tmp_path):
    cloud = Cloud(tmp_path, rate=5)
    assert [cloud.register("F%d" % n, address=ELSEWHERE).status for n in range(60)] == [200] * 50 + [429] * 10
    assert cloud.register("D1", address="192.0.2.1").status == 200
    assert cloud.register("D2", address="2001:db8::1").status == 200
    cloud.close()
    assert client_network("2001:db8::1") == client_network("2001:db8::ffff") != client_network("2001:db8:0:1::1")
    assert client_network("::ffff:192.0.2.1") == "192.0.2.1" and client_network("nothing") == "nothing"


@pytest.mark.sweep
def test_fake_devices_neither_stop_a_release_nor_hide_its_failures(cloud):
    """400 fakes report success beside 22 failing boards; then 20 fakes report failure."""

    def outcome(version, fakes, state, age):
        cloud.publish(version, stop="10% after 20", age=age)
        for n, (id, end) in enumerate(
            [
                *((fake, state) for fake in fakes),
                *(("REAL%d" % n, "failed" if state == "confirmed" else "confirmed") for n in range(22)),
            ]
        ):
            if ask(cloud, id) == version:
                update = overview.device(cloud.site, id)["update"]["update"]
                cloud.report(id, cloud.tokens[id], update, end == "confirmed", state=end)
        return overview.update(cloud.site, "thermo@" + version)["state"]

    for n in range(22):
        ask(cloud, "REAL%d" % n)
    cloud.now_s += 2 * DAY
    for n in range(420):
        ask(cloud, "FAKE%d" % n)
    good, bad = ["FAKE%d" % n for n in range(400)], ["FAKE%d" % n for n in range(400, 420)]
    assert outcome("2.0.0", good, "confirmed", "none") == "active"  # although 22 of 22 boards have failed
    assert outcome("3.0.0", good, "confirmed", "1 day") == "paused"
    assert outcome("4.0.0", bad, "failed", "none") == "paused"  # although no board has failed
    assert outcome("5.0.0", bad, "failed", "1 day") == "active"


def test_fake_devices_take_no_slots_of_a_limit_or_rate(cloud):
    for n in range(5):
        ask(cloud, "REAL%d" % n)
    cloud.now_s += DAY
    cloud.publish("2.0.0", limit=3, age="1 day")
    assert [ask(cloud, "FAKE%d" % n) for n in range(20)] == [None] * 20
    assert [ask(cloud, "REAL%d" % n) for n in range(5)] == ["2.0.0"] * 3 + [None] * 2
    assert {each["version"]: each["why"] for each in overview.device(cloud.site, "FAKE0")["offers"]} == {"2.0.0": "new"}
    control.set_terms(cloud.site, "thermo@2.0.0", {"limit": "none", "rate": "1", "period": "1 hour"})
    cloud.now_s += 2 * HOUR
    assert ask(cloud, "FAKE0") is None
    control.claim(cloud.site, "FAKE0")  # an operator vouches for it
    assert ask(cloud, "FAKE0") == "2.0.0"
    control.set_terms(cloud.site, "thermo@2.0.0", {"rate": "none"})
    assert ask(cloud, "FAKE1") == "2.0.0"  # without a limit or rate, age does not matter


def test_a_registration_without_a_product_is_refused(cloud):
    try:
        registration.register(cloud.site, "NOPE", {"id": "D1"}, "")
    except Refusal as e:
        assert e.status == 401
    else:
        raise AssertionError("registered")
