"""The phases of an update on a simulated device, compared with the agent's reports.

See docs/protocol.md and lib/ioto/update.py.
"""

import itertools

import pytest
from ioto import update
from ioto_tools.fleet import phases
from ioto_tools.fleet.random_draws import draw
from ioto_tools.fleet.settings import Settings

ATTEMPT = ["applied", "rolled_back"]
REPORTS = {
    phases.GOOD: ["downloading", "staged", "applied", "confirmed"],
    phases.CRASH: ["downloading", "staged", *ATTEMPT * 3, "failed"],
    phases.FAIL: ["downloading", "failed"],
    phases.REFUSE: ["refused"],
    phases.LOSE: ["downloading", "staged", "applied"],
    phases.REVERT: ["downloading", "staged", "applied", "confirmed"],
    phases.DEFER: ["downloading", "staged", "deferred", "deferred", "applied", "confirmed"],
    phases.UNREPORTED: ["downloading", "staged", "applied", "confirmed"],  # the fleet does not send them
}
ENDS = {phases.LOSE: phases.GONE, phases.REVERT: phases.PROBATION}


def walk(outcome):
    """(reports, attempt, last phase) of one update."""
    phase, attempt, deferrals, reports = phases.first_phase(outcome), 1, 0, []
    for _ in range(40):
        if phase in phases.REPORTS:
            reports.append(phases.REPORTS[phase])
        deferrals += phase == phases.DEFERRED
        to, wait = phases.next_phase(phase, outcome, attempt, deferrals)
        Settings("P").seconds(wait, 1, 1)
        attempt += phase == phases.ROLLED_BACK and to == phases.WAITING
        phase = to
        if phase in (phases.IDLE, phases.GONE, phases.PROBATION):
            return reports, attempt, phase
    raise AssertionError("%s never ends: %s" % (outcome, reports))


@pytest.mark.parametrize("outcome", REPORTS)
def test_each_outcome_is_reported_as_by_the_agent(outcome):
    reports, attempt, last = walk(outcome)
    assert reports == REPORTS[outcome] and last == ENDS.get(outcome, phases.IDLE)
    assert attempt == (phases.ATTEMPTS if outcome == phases.CRASH else 1)


def test_states_and_success_are_the_agents():
    assert set(phases.REPORTS.values()) == set(update.STATES)
    assert set(REPORTS) == {phases.GOOD, *phases.OUTCOMES}
    record = {"reports": [], "update": {"update": "U"}}
    for phase, state in phases.REPORTS.items():
        record["reports"].clear()
        update.add_report(record, "U", state, "1.0.0")
        assert update.body(record["reports"][0], "D")["success"] == (phase not in phases.FAILURES)


def test_draw_depends_on_all_arguments_and_nothing_else():
    drawn = {what: draw(1, *what) for what in itertools.product(range(20), range(20), range(20))}
    assert len(set(drawn.values())) == len(drawn) and all(0 <= each < 1 for each in drawn.values())
    assert all(draw(1, *what) == each for what, each in reversed(drawn.items()))
    assert draw(1, 5, 6) != draw(2, 5, 6) != draw(2, 6, 5)
    for position in range(3):  # one argument varies: 8000 draws, ten bins, five standard deviations
        bins = [0] * 10
        for n in range(8000):
            bins[int(draw(7, *(n if at == position else 3 for at in range(3))) * 10)] += 1
        assert all(abs(count - 800) < 5 * (8000 * 0.1 * 0.9) ** 0.5 for count in bins), bins


def test_shares_of_outcomes_and_properties():
    shares = dict(zip(phases.OUTCOMES, (0.05, 0.1, 0.02, 0.03, 0.1, 0.2, 0.1), strict=True))
    settings = Settings(
        "P", devices=20000, shares=shares, properties={"region": ["north", "south"], "memory": [128, 256, 512]}
    )
    outcomes = [settings.outcome(n, 42) for n in range(20000)]
    for outcome, share in {**shares, phases.GOOD: 1 - sum(shares.values())}.items():
        assert abs(outcomes.count(outcome) / 20000 - share) < 5 * (share / 20000) ** 0.5, outcome
    assert (
        outcomes == [settings.outcome(n, 42) for n in range(20000)] != [settings.outcome(n, 43) for n in range(20000)]
    )
    facts = [settings.properties_of(n) for n in range(6000)]
    for region, memory in itertools.product(("north", "south"), (128, 256, 512)):
        assert abs(facts.count({"region": region, "memory": memory}) - 1000) < 150
    for bad in (
        {"shares": {"crash": 0.6, "lose": 0.6}},
        {"shares": {"explode": 0.1}},
        {"shares": {"crash": 2}},
        {"devices": 0},
        {"devices": 1 << 20},
    ):
        with pytest.raises(ValueError, match="|".join((*bad.get("shares", {}), "devices"))):
            Settings("P", **bad)
