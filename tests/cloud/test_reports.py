"""Reports in every order and repeated: what counts is the set of them, and where the furthest one stands."""

import itertools

from ioto_tools.cloud import fleet, progress
from ioto_tools.cloud.wire import STATES

# (attempt, state) of a whole life with one failed attempt, and the state it ends in.
LIVES = (
    (((1, "downloading"), (1, "staged"), (1, "applied"), (1, "confirmed")), "confirmed"),
    (((1, "staged"), (1, "applied"), (1, "rolled_back"), (2, "applied")), "applied"),
    (((1, "rolled_back"), (2, "applied"), (2, "rolled_back"), (2, "failed")), "failed"),
    (((1, "downloading"), (1, "staged"), (1, "refused")), "refused"),
    (((0, "confirmed"),), "confirmed"),
)


def test_every_order_and_every_repetition(cloud):
    count = 0
    update = cloud.publish("2.0.0")["id"]
    for life, ends in LIVES:
        for order in itertools.permutations(life):
            count += 1
            device = "D%d" % count
            token = cloud.device(device)
            for attempt, state in order + order[::-1]:
                assert cloud.report(device, token, update, attempt=attempt, state=state).body == b"{}"
            known = fleet.device(cloud.site, device)
            assert [known["update"]["state"]] == [u["state"] for u in known["updates"]] == [ends], order
            assert len(known["reports"]) == len(life) and all(r["times"] == 2 for r in known["reports"]), order
    assert count == 24 + 24 + 24 + 6 + 1


def test_furthest_of_every_pair_does_not_depend_on_order():
    everything = [{"attempt": a, "state": s} for a in (0, 1, 2) for s in STATES]
    for one, two in itertools.permutations(everything, 2):
        assert progress.furthest([one, two]) is progress.furthest([two, one])
        if one["attempt"] != two["attempt"]:
            assert progress.furthest([one, two])["attempt"] == max(one["attempt"], two["attempt"])
    assert progress.furthest([]) is None
    assert set(progress._RANK) == set(STATES)


def test_what_is_kept_of_a_report(cloud):
    token, update = cloud.device(), cloud.publish("2.0.0")["id"]
    cloud.now_s += 60
    cloud.report("D1", token, update, False, state="rolled_back", attempt=2, reason="selftest_failed", version="1.0.0", extra=[1])
    cloud.now_s += 60
    cloud.report("D1", token, update, False, state="rolled_back", attempt=2, reason="other words", version="9.9.9")
    [report] = fleet.device(cloud.site, "D1")["reports"]
    assert report == {
        "update": update, "version": "2.0.0", "state": "rolled_back", "attempt": 2, "reason": "selftest_failed",
        "received_s": 1_800_000_060, "success": False, "runs": "1.0.0", "times": 2,
    }  # fmt: skip
    [listed] = fleet.updates(cloud.site)
    assert listed["states"] == {"rolled_back": 1}


def test_late_and_unknown_reports_are_200_and_counted(cloud):
    token = cloud.device()
    old, new = cloud.publish("2.0.0")["id"], cloud.publish("3.0.0")["id"]
    fleet.enable(cloud.site, old, False)
    cloud.report("D1", token, new, state="confirmed", attempt=1)
    assert cloud.report("D1", token, old, state="failed", success=False).status == 200  # late, of a withdrawn update
    from ioto_tools.cloud.publish import new_product

    new_product(cloud.site, "other")
    foreign = cloud.publish("2.0.0", product="other")["id"]
    for update in ("NOBODY", foreign, new.lower(), "'"):
        assert cloud.report("D1", token, update).body == b"{}"
    known = fleet.device(cloud.site, "D1")
    assert known["unknown_reports"] == 4 and len(known["reports"]) == 2
    assert {u["version"]: u["state"] for u in known["updates"]} == {"3.0.0": "confirmed", "2.0.0": "failed"}


def test_counts_of_a_fleet(cloud):
    update = cloud.publish("2.0.0")["id"]
    wanted = {}
    for number, state in enumerate(STATES * 3):
        id = "D%d" % number
        cloud.report(id, cloud.device(id), update, state=state, attempt=1)
        wanted[state] = wanted.get(state, 0) + 1
    assert fleet.updates(cloud.site)[0]["states"] == wanted
