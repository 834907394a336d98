"""Reports in any order, and repeated: the resulting state is always that of the most advanced report."""

import itertools

import pytest
from ioto_tools.cloud.devices.messages import STATES
from ioto_tools.cloud.operators import control, overview

# (reports of a device as (attempt, state), the final state).
HISTORIES = (
    (((1, "downloading"), (1, "staged"), (1, "applied"), (1, "confirmed")), "confirmed"),
    (((1, "staged"), (1, "applied"), (1, "rolled_back"), (2, "applied")), "applied"),
    (((1, "rolled_back"), (2, "applied"), (2, "rolled_back"), (2, "failed")), "failed"),
    (((1, "downloading"), (1, "staged"), (1, "refused")), "refused"),
    (((0, "confirmed"),), "confirmed"),
)


def offered(cloud, id="D1", running="1.0.0"):
    """Offer the newest update to a new device; return (token, update)."""
    token = cloud.device(id)
    return token, cloud.check_in(id, token, running).json()["update"]


@pytest.mark.sweep
def test_reports_in_every_order_and_repeated(cloud):
    count = 0
    cloud.publish("2.0.0")
    ends_in = {}
    for history, ends in HISTORIES:
        for order in itertools.permutations(history):
            count += 1
            device = "D%d" % count
            token, update = offered(cloud, device)
            for attempt, state in order + order[::-1]:
                assert cloud.report(device, token, update, attempt=attempt, state=state).body == b"{}"
            known = overview.device(cloud.site, device)
            assert [known["update"]["state"]] == [u["state"] for u in known["updates"]] == [ends], order
            assert len(known["reports"]) == len(history) and all(r["times"] == 2 for r in known["reports"]), order
            ends_in[ends] = ends_in.get(ends, 0) + 1
    assert count == 24 + 24 + 24 + 6 + 1
    [update] = overview.updates(cloud.site)
    assert update["states"] == ends_in and update["granted"] == count


def test_the_first_of_equal_reports_is_stored(cloud):
    cloud.publish("2.0.0")
    token, update = offered(cloud)
    cloud.now_s += 60
    cloud.report(
        "D1", token, update, False, state="rolled_back", attempt=2, reason="selftest_failed", version="1.0.0", extra=[1]
    )
    cloud.now_s += 60
    cloud.report("D1", token, update, False, state="rolled_back", attempt=2, reason="other words", version="9.9.9")
    [report] = overview.device(cloud.site, "D1")["reports"]
    assert report == {
        "update": update, "version": "2.0.0", "state": "rolled_back", "attempt": 2, "reason": "selftest_failed",
        "received_s": 1_800_000_060, "success": False, "runs": "1.0.0", "times": 2,
    }  # fmt: skip
    [listed] = overview.updates(cloud.site)
    assert listed["states"] == {"rolled_back": 1}


def test_late_and_unknown_reports_are_accepted_and_counted(cloud):
    cloud.publish("2.0.0")
    token, old = offered(cloud)
    cloud.publish("3.0.0")
    new = cloud.check_in("D1", token, "1.0.0").json()["update"]
    control.enable(cloud.site, old, False)
    cloud.report("D1", token, new, state="confirmed", attempt=1)
    assert cloud.report("D1", token, old, state="failed", success=False).status == 200  # late, for a disabled update
    from ioto_tools.cloud.releases.publish import new_product

    new_product(cloud.site, "other")
    foreign = cloud.publish("2.0.0", product="other")["id"]
    for update in ("NOBODY", foreign, new.lower(), "'"):
        assert cloud.report("D1", token, update).body == b"{}"
    known = overview.device(cloud.site, "D1")
    assert known["unknown_reports"] == 4 and len(known["reports"]) == 2
    assert {u["version"]: u["state"] for u in known["updates"]} == {"3.0.0": "confirmed", "2.0.0": "superseded"}


def test_a_report_about_an_update_that_was_never_offered_changes_no_count(cloud):
    update, token = cloud.publish("2.0.0")["id"], cloud.device()
    for state in ("downloading", "failed"):
        assert cloud.report("D1", token, update, state=state, attempt=1).body == b"{}"
    known = overview.device(cloud.site, "D1")
    assert [each["state"] for each in known["reports"]] == ["downloading", "failed"] and known["updates"] == []
    [told] = overview.updates(cloud.site)
    assert told["states"] == told["ended"] == {} and told["granted"] == 0


def test_counts_of_a_fleet(cloud):
    cloud.publish("2.0.0")
    wanted = {"offered": 2}
    offered(cloud, "D98")
    offered(cloud, "D99")
    for number, state in enumerate(STATES * 3):
        id = "D%d" % number
        token, update = offered(cloud, id)
        cloud.report(id, token, update, state=state, attempt=1)
        wanted[state] = wanted.get(state, 0) + 1
    [told] = overview.updates(cloud.site)
    assert told["states"] == wanted and told["granted"] == sum(wanted.values())
    assert told["ended"] == {state: 3 for state in ("confirmed", "failed", "rolled_back", "refused")}


def test_the_cloud_counts_attempts_of_clients_that_send_none(cloud):
    """The same failure after each of three offers counts as three attempts; repeated at once, it counts as one."""
    cloud.publish("2.0.0")
    token, update = offered(cloud)
    for tries, wait_s in ((1, 3600), (2, 86400), (3, 10**7)):
        for _ in range(2):
            cloud.report("D1", token, update, False)
        known = overview.device(cloud.site, "D1")
        assert [(r["attempt"], r["state"], r["times"]) for r in known["reports"]] == [
            (n, "failed", 2) for n in range(1, tries + 1)
        ]
        assert known["update"]["tries"] == tries and known["update"]["state"] == "failed"
        cloud.now_s += wait_s - 1
        assert cloud.check_in("D1", token, "1.0.0").json() == {}
        cloud.now_s += 1
        assert ("url" in cloud.check_in("D1", token, "1.0.0").json()) == (tries < 3), tries
    assert overview.updates(cloud.site)[0]["ended"] == {"failed": 1}
