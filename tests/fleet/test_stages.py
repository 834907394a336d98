"""A fleet whose releases advance through stages, in simulated time: exact counts, and a bad one stays in the first."""

import pytest
from staged_fleet import StagedFleet

ROUND_S = 60
GATE = "2 finished, 2% failed"


def plan(share):
    """Three stages, the first with `share` %."""
    return "%g%% 2 mins, %g%% 2 mins, 100%%" % (share, 5 * share)


def check_stages(fleet, share, told=lambda text: None):
    """A bad release ends in its first stage of `share` %; a good one advances, with exact counts in each stage."""
    bad = fleet.publish("1.1.0", stages=plan(share), gate=GATE, stop="2.5%% after %d" % max(2, fleet.count // 500))
    inside = fleet.members(bad, share)
    offered = fleet.run(ROUND_S, failing=0.03 if fleet.count > 10_000 else 0.5)
    found = fleet.shown(bad)
    told("a release of which 3 %% fail: offered to %d of %d devices" % (found["granted"], fleet.count))
    assert offered <= inside and found["granted"] == len(offered) and found["stages"]["stage"] == 1
    assert found["states"] == {"confirmed": len(offered - fleet.failed), "failed": len(fleet.failed)}
    for _ in range(2):  # the time of the stage passes
        assert fleet.run(ROUND_S) <= inside
    found = fleet.shown(bad)
    assert found["stages"]["stage"] == 1 and found["granted"] <= len(inside)

    good = fleet.publish("1.2.0", stages=plan(share), gate=GATE)
    for stage, percentage in enumerate((share, 5 * share, 100), 1):
        there = fleet.members(good, percentage)
        fleet.run(ROUND_S)
        found = fleet.shown(good)
        told("stage %d: %d of %d devices" % (stage, found["granted"], fleet.count))
        assert found["stages"]["stage"] == stage and found["states"] == {"confirmed": len(there)}
        assert {n for n, version in enumerate(fleet.versions) if version == "1.2.0"} == there
        if stage < 3:
            assert [each["name"] for each in found["stages"]["waits"]] == ["soak"]
            fleet.clock.now_s += ROUND_S  # the next check-in begins the next stage


@pytest.mark.parametrize("devices, share", ((60, 10), pytest.param(5000, 2, marks=pytest.mark.sweep)))
def test_stages_have_exact_counts_and_a_bad_release_stays_in_the_first(memory_path, devices, share):
    fleet = StagedFleet(memory_path, devices)
    check_stages(fleet, share)
    fleet.close()
