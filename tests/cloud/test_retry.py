"""`ioto updates retry`: which devices are offered the update again, and their slots and outcomes."""

import pytest
from cloud_under_test import call
from device_actions import ask, second_worker, send_report, state, why
from ioto_tools.cloud.http.errors import CloudError
from ioto_tools.cloud.operators import control, operator_tokens, overview
from ioto_tools.cloud.rollout import grants, leases
from ioto_tools.cloud.rules import update_states
from ioto_tools.cloud.storage import audit
from web_session import Session

HOUR, DAY = 3600, 86400
ENDS = {
    "failed": ("failed",),
    "rolled_back": ("rolled_back",),
    "refused": ("refused", 1, "record_failed"),
    "unfit": ("refused", 1, "unsigned"),
}


def end(cloud, id, how):
    """Offer the device 2.0.0, and let the attempt end in the state `how`."""
    assert ask(cloud, id) == "2.0.0"
    if how == "lost":
        key = cloud.site.database.read(overview.find_device, id)["key"]
        cloud.site.database.write(
            grants.apply_event, key, *cloud.site.database.read(grants.of_device, key), "silent", cloud.now_s
        )
    elif how == "reverted":
        # A board that does not send its start time.
        assert ask(cloud, id, "2.0.0") is ask(cloud, id) is ask(cloud, id) is None
    else:
        send_report(cloud, id, *ENDS[how])
    assert state(cloud, id) == how


def offered(cloud, id):
    """Check in the device; return the whole offer."""
    return cloud.check_in(id, cloud.tokens[id], "1.0.0").json()


@pytest.mark.parametrize("how", sorted(update_states.RETRYABLE))
def test_an_operator_can_repeatedly_allow_new_attempts(cloud, how):
    cloud.publish("2.0.0", stop="none")
    other = second_worker(cloud)
    for n in range(3):
        end(cloud, "D1", how)
        cloud.now_s += 2 * DAY
        assert ask(other, "D1", "1.0.0") == ("2.0.0" if n < 2 else None) or n == 2
        if n < 2:
            continue
    assert why(cloud, "D1") == {"2.0.0": "tried"}
    for times in (1, 2):
        assert control.retry(cloud.site, "thermo@2.0.0") == 1
        assert overview.update(cloud.site, "thermo@2.0.0")["ended"] == {}
        other.moments[0] += 1
        assert ask(other, "D1") == "2.0.0"  # at once, from every worker
        assert offered(cloud, "D1")["retry"] == times and overview.device(cloud.site, "D1")["update"]["tries"] == 1
        for n in range(3):
            end(cloud, "D1", how)  # the same reports as before are counted again
            cloud.now_s += 2 * DAY
        assert ask(cloud, "D1") is None and why(cloud, "D1") == {"2.0.0": "tried"}
    row = cloud.site.database.read(audit.newest)[0]
    assert row["action"] == "release.retried" and row["detail"] == {
        "product": "PRODUCT7",
        "version": "2.0.0",
        "device": "D1",
    }
    other.close()


def test_retry_by_device_by_state_and_for_all(cloud):
    cloud.publish("2.0.0")
    for id, how in (("F1", "failed"), ("F2", "failed"), ("R1", "refused"), ("U1", "unfit")):
        end(cloud, id, how)
    ask(cloud, "GOOD"), ask(cloud, "GOOD", "2.0.0"), ask(cloud, "OPEN")
    assert (
        control.retry(cloud.site, "thermo@2.0.0", ["F1"]) == 1
        and ask(cloud, "F1") == "2.0.0"
        and ask(cloud, "F2") is None
    )
    assert (
        control.retry(cloud.site, "thermo@2.0.0", states=["failed", "lost"]) == 1
        and ask(cloud, "F2") == "2.0.0"
        and ask(cloud, "R1") is None
    )
    assert control.retry(cloud.site, "thermo@2.0.0") == 2 and ask(cloud, "R1") == ask(cloud, "U1") == "2.0.0"
    assert control.retry(cloud.site, "thermo@2.0.0") == 0
    end(cloud, "F3", "failed")
    before = overview.updates(cloud.site), cloud.site.database.read(audit.newest)
    for ids, states, word in (
        (["F3", "GOOD"], [], "GOOD.*confirmed"),
        (["OPEN"], [], "OPEN.*offered"),
        (["NOBODY"], [], "NOBODY"),
        ([], ["staged"], "staged.*expected.*failed"),
        (["F3"], ["lost"], "F3.*failed"),
    ):
        with pytest.raises(CloudError, match=word):
            control.retry(cloud.site, "thermo@2.0.0", ids, states)
    cloud.device("NEW")
    with pytest.raises(CloudError, match="NEW.*never offered thermo 2.0.0"):
        control.retry(cloud.site, "thermo@2.0.0", ["NEW"])
    assert (overview.updates(cloud.site), cloud.site.database.read(audit.newest)) == before
    control.change_state(cloud.site, "thermo@2.0.0", "cancelled")
    with pytest.raises(CloudError, match="cancelled: publish a higher version"):
        control.retry(cloud.site, "thermo@2.0.0")


@pytest.mark.parametrize(
    "how, keeps",
    [("refused", False), ("unfit", False), ("failed", True), ("lost", True), ("reverted", True), ("rolled_back", True)],
)
def test_retry_returns_the_slots_of_devices_that_refused(cloud, how, keeps):
    cloud.publish("2.0.0", limit=2)
    end(cloud, "D1", how), end(cloud, "D2", how)
    assert ask(cloud, "D3") is None
    assert control.retry(cloud.site, "thermo@2.0.0", states=[how]) == 2
    [slots] = cloud.site.database.read(leases.slots_in_use).values()
    assert slots == (2 if keeps else 0) and overview.update(cloud.site, "thermo@2.0.0")["granted"] == 2
    assert [ask(cloud, id) for id in ("D3", "D1", "D2")] == (
        [None, "2.0.0", "2.0.0"] if keeps else ["2.0.0", "2.0.0", None]
    )
    assert overview.update(cloud.site, "thermo@2.0.0")["granted"] == (2 if keeps else 3)


@pytest.mark.sweep
def test_retry_of_more_devices_than_fit_into_one_transaction(cloud, monkeypatch):
    monkeypatch.setattr(grants, "AT_ONCE", 3)
    cloud.publish("2.0.0")
    for n in range(8):
        end(cloud, "D%d" % n, "failed")
    assert control.retry(cloud.site, "thermo@2.0.0") == 8 and all(ask(cloud, "D%d" % n) for n in range(8))
    assert [row["detail"]["devices"] for row in cloud.site.database.read(audit.newest)[:3]] == [2, 3, 3]


def test_outcomes_before_a_retry_do_not_count_for_the_stop_rule(cloud):
    """Three failures before a retry are forgotten: the next failure is the first one."""
    cloud.publish("2.0.0", stop="50% after 4")
    for n in range(3):
        end(cloud, "D%d" % n, "failed")
    control.retry(cloud.site, "thermo@2.0.0")
    end(cloud, "D0", "failed")
    assert overview.update(cloud.site, "thermo@2.0.0")["state"] == "active"
    for n in (1, 2, 3):
        assert overview.update(cloud.site, "thermo@2.0.0")["state"] == "active"
        end(cloud, "D%d" % n, "failed")
    assert overview.update(cloud.site, "thermo@2.0.0")["state"] == "paused"


def test_the_report_failed_before_ends_the_next_offer_too(cloud):
    """The agent refuses an image that has failed before: the device must not stay in the state `offered`."""
    cloud.publish("2.0.0")
    for how, reason in (("failed", "signature_invalid"), ("refused", "image_chip")):
        id = how.upper()
        ask(cloud, id)
        send_report(cloud, id, how, reason=reason)
        ended = state(cloud, id)
        for wait in (HOUR, DAY):
            cloud.now_s += wait
            assert ask(cloud, id) == "2.0.0"
            send_report(cloud, id, how, reason="failed_before")
            assert state(cloud, id) == ended and overview.device(cloud.site, id)["update"]["reason"] == "failed_before"
        cloud.now_s += 9 * DAY
        assert ask(cloud, id) is None and why(cloud, id) == {"2.0.0": "tried"}
    assert overview.update(cloud.site, "thermo@2.0.0")["ended"] == {"failed": 1, "unfit": 1}


@pytest.mark.sweep
def test_retry_by_command_api_and_page(cloud, ioto):
    cloud.publish("2.0.0")
    for n in range(4):
        end(cloud, "D%d" % n, "failed")
    assert (
        "thermo 2.0.0: 1 device is offered it again"
        in ioto("updates", "retry", "thermo@2.0.0", "--device", "D0", "--data", "site").stdout
    )
    refused = ioto("updates", "retry", "thermo@2.0.0", "--device", "D9", "--data", "site", ok=False)
    assert refused.returncode == 1 and "D9" in refused.stderr
    token = operator_tokens.new(cloud.site, "ci", "publish")["token"]
    path = "/api/v1/releases/thermo@2.0.0/retry"

    def post(body):
        return call(cloud.app, "POST", path, {"Authorization": "Bearer " + token}, body)

    assert (
        post(b'{"device": "D1"}').json()["retried"] == 1
        and post(b'{"device": "D9"}').status == 404
        and post(b'{"state": "x"}').status == 400
    )
    jo, update = Session(cloud), overview.updates(cloud.site)[0]["update"]
    assert b"Try again: failed" in jo.get("release?id=" + update).body and b"Try again" in jo.get("device?id=D2").body
    assert jo.post("release", {"id": update, "action": "retry", "device": "D2"}).status == 303
    assert [ask(cloud, "D%d" % n) for n in range(4)] == ["2.0.0", "2.0.0", "2.0.0", None]
    assert (
        jo.post("release", {"id": update, "action": "retry", "state": "failed"}).status == 303
        and ask(cloud, "D3") == "2.0.0"
    )
