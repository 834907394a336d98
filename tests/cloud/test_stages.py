"""Stages of a rollout: the plan, the gate before each next stage, and what operators can do with them."""

import itertools
import json

import pytest
from cloud_under_test import call
from device_actions import ask, audited_subjects, second_worker, send_report, why
from ioto_tools.cloud.http.errors import CloudError
from ioto_tools.cloud.operators import control, operator_tokens, overview
from ioto_tools.cloud.releases import term_warnings
from ioto_tools.cloud.rollout import stage_gates
from ioto_tools.cloud.rules import health_comparison, stages, update_states
from ioto_tools.cloud.rules.selection import RELEASE_STATES
from ioto_tools.cloud.storage import audit
from ioto_tools.cloud.storage.tables import releases
from web_session import Session, problem, text

HOUR = 3600
PLAN = "10% 1h, 50% 1d, 100%"
UPDATE = "thermo@2.0.0"


def members(cloud, version="2.0.0", count=60):
    """{percentage of the plan: devices that a stage with this percentage adds}."""
    update = overview.update(cloud.site, "thermo@" + version)["update"]
    found = {10: [], 50: [], 100: []}
    for id in ("D%d" % n for n in range(count)):
        position = update_states.rollout_position(update, id)
        found[next(each for each in found if position < each)].append(id)
    return found


def shown(cloud):
    return overview.update(cloud.site, UPDATE)["stages"]


def number(cloud):
    return shown(cloud)["stage"]


def waits(cloud):
    return [each["name"] for each in shown(cloud)["waits"]]


def look(cloud, seconds=stage_gates.EVERY_S):
    """Some device checks in, so that the gate is judged."""
    cloud.now_s += seconds
    ask(cloud, "ONLOOKER", "3.0.0")


def update_device(cloud, id):
    assert ask(cloud, id) == "2.0.0"
    ask(cloud, id, "2.0.0")


# ---- the gate


def row(**changed):
    begun = {
        "stages": PLAN, "gate": "2 finished, 10% failed, health", "stage": 0, "stage_s": 1000, "stage_finished": 5,
        "held": False, "start_s": None, "stop_percent": 50, "stop_after": 1,
    }  # fmt: skip
    return begun | changed


def test_every_combination_of_conditions_is_named():
    """For each set of conditions that are not met, exactly these are named, in this order."""
    for status, held, soak, few, failures, stop in itertools.product(
        ("active", "awaiting", "paused", "cancelled", "disabled", "scheduled", "ended", "expired"),
        (False, True), ("over", "second", "ahead"), *[(False, True)] * 3,
    ):  # fmt: skip
        counts = {"confirmed": 6 if few else 20}
        if failures:
            counts = {"confirmed": 5, "failed": 1} if few else {"confirmed": 16, "failed": 4}
        if stop:
            counts = {"failed": 6 if few else 20}
        wanted = [
            name
            for name, holds in (
                ("status", status != "active"), ("hold", held), ("stop", stop), ("soak", soak != "over"),
                ("finished", few), ("failures", failures or stop),
            )
            if holds
        ]  # fmt: skip
        now_s = 1000 + HOUR - (soak == "second")
        found = stages.waits_for(row(held=held, stage_s=now_s + 21 if soak == "ahead" else 1000), status, counts, now_s)
        assert [each.name for each in found] == wanted


def test_what_is_not_in_the_gate_is_not_waited_for():
    counts = {"failed": 3}
    for gate, wanted in (
        ("none", []), ("health", []), ("2 finished", ["finished"]), ("20% failed", ["failures"]),
        ("100% failed", []), ("2 finished, 99% failed", ["finished", "failures"]),
    ):  # fmt: skip
        found = stages.waits_for(row(gate=gate, stop_percent=None, stop_after=None), "active", counts, 1000 + HOUR)
        assert [each.name for each in found] == wanted, gate


def test_the_time_of_the_first_stage_begins_with_the_schedule():
    assert stages.due_s(row()) == 1000 + HOUR and stages.due_s(row(start_s=5000)) == 5000 + HOUR
    assert stages.due_s(row(stage=1)) == 1000 + 24 * HOUR
    assert stages.due_s(row(stage=2)) is None and stages.due_s(row(stages=None, stage=None)) is None


@pytest.mark.sweep
def test_the_whole_rollout(cloud):
    cloud.publish("2.0.0", stages=PLAN, gate="2 finished, 40% failed")
    here = members(cloud)
    for id in itertools.chain(*here.values()):  # only members of stage 1 are offered it
        assert ask(cloud, id) == ("2.0.0" if id in here[10] else None)
    outside = here[50][0]
    [offer] = overview.device(cloud.site, outside)["offers"]
    assert (offer["why"], offer["stage"]) == ("stage", "stage 1 of 3 (10%)")
    assert [each["says"] for each in shown(cloud)["waits"]] == [
        "until 2027-01-15 09:00:00 UTC", "2 more finished devices"
    ]  # fmt: skip
    update_device(cloud, here[10][0])
    send_report(cloud, here[10][1], "failed")
    assert waits(cloud) == ["soak", "failures"] and shown(cloud)["waits"][1]["says"] == "failures 50% > 40%"
    update_device(cloud, here[10][2])
    look(cloud, HOUR - 1)
    assert number(cloud) == 1 and waits(cloud) == ["soak"]
    look(cloud, 1)
    assert number(cloud) == 2 and ask(cloud, outside) == "2.0.0" and ask(cloud, here[100][0]) is None
    assert why(cloud, here[100][0]) == {"2.0.0": "stage"}
    assert waits(cloud) == ["soak", "finished"]  # those of stage 1 do not count again
    look(cloud, 24 * HOUR)
    assert number(cloud) == 2 and waits(cloud) == ["finished"]
    for id in here[50][:2]:
        update_device(cloud, id)
    look(cloud)
    assert number(cloud) == 3 and waits(cloud) == [] and shown(cloud)["due_s"] is None
    assert ask(cloud, here[100][0]) == "2.0.0"
    rows = [each for each in cloud.site.database.read(audit.newest) if each["action"] == "release.advanced"][::-1]
    assert [each["who"] for each in rows] == ["cloud", "cloud"]
    assert rows[0]["detail"] == {
        "product": "PRODUCT7", "version": "2.0.0", "stage": 2, "of": 3, "percentage": 50.0, "finished": 3,
        "failed_percent": 33.333,
    }  # fmt: skip


def test_a_report_opens_the_gate_too(cloud):
    cloud.publish("2.0.0", stages=PLAN, gate="1 finished")
    [id, *_] = members(cloud)[10]
    ask(cloud, id)
    cloud.now_s += HOUR
    send_report(cloud, id, "confirmed")
    assert number(cloud) == 2


def test_two_workers_advance_once_and_a_worker_with_an_old_cache_skips_no_stage(cloud):
    cloud.publish("2.0.0", stages="10% 1 sec, 50% 1 hour, 100%", gate="none")
    other = second_worker(cloud)
    ask(other, "D1")
    cloud.now_s += 1
    ask(cloud, "D2")
    ask(other, "D1")  # its cache is from before the advance
    assert number(cloud) == 2 and len(audited_subjects(cloud, "release.advanced")) == 1
    verdict = cloud.site.database.read(
        stage_gates.judge_by_id, overview.update(cloud.site, UPDATE)["update"], cloud.now_s
    )
    first = verdict._replace(stage=0, waits=[])
    cloud.now_s += HOUR
    passed = [
        cloud.site.database.write(
            stage_gates.pass_gate, overview.update(cloud.site, UPDATE)["update"], each, cloud.now_s
        )
        for each in (first, verdict, verdict)
    ]
    assert passed == [False, True, False] and number(cloud) == 3
    other.site.close()


@pytest.mark.sweep
def test_a_gate_that_stays_closed_is_judged_at_most_every_half_minute(cloud, monkeypatch):
    judged = []
    judge = stage_gates.judge_by_id
    monkeypatch.setattr(stage_gates, "judge_by_id", lambda *given: judged.append(1) or judge(*given))
    cloud.publish("2.0.0", stages=PLAN)
    for second in range(100):
        cloud.now_s += 1
        ask(cloud, "D%d" % (second % 3), "3.0.0")
    assert not judged
    cloud.now_s += HOUR
    for _ in range(100):
        cloud.now_s += 1
        ask(cloud, "D1", "3.0.0")
    assert len(judged) == 4
    control.hold(cloud.site, UPDATE, True)
    look(cloud)
    assert len(judged) == 4


# ---- clocks


@pytest.mark.sweep
def test_a_clock_that_was_ahead_lengthens_a_stage_and_shortens_at_most_one(cloud):
    cloud.publish("2.0.0", stages="10% 1h, 50% 1h, 100%", gate="none")
    cloud.now_s += 48 * HOUR  # a wrong clock
    look(cloud, 0)
    assert number(cloud) == 2
    for _ in range(5):
        look(cloud)
    assert number(cloud) == 2
    cloud.now_s -= 48 * HOUR
    look(cloud, 0)
    for _ in range(119):
        look(cloud)
        assert number(cloud) == 2
    look(cloud)
    assert number(cloud) == 3


# ---- operators


def test_every_state_with_every_action(cloud):
    """For every state, stage and hold of a release: the time, an operator's advance, and the two sides of a hold."""
    id = cloud.publish("2.0.0")["id"]
    for state, stage, held, action in itertools.product(
        RELEASE_STATES, (None, 0, 1, 2), (False, True), ("time", "advance", "hold", "unhold")
    ):
        if held and stage in (None, 2):
            continue
        plan = {} if stage is None else {"stages": PLAN, "gate": "none", "stage_s": cloud.now_s, "stage_finished": 0}
        before = {"stage": stage, "held": held}
        cloud.site.database.write(put, id, {"stages": None, "state": state, **plan, **before})
        after, said = act(cloud, id, action, before)
        last = {None: "no stages", 2: "in its last stage"}.get(stage)
        if action == "time":
            if not last and state == "active" and not held:
                after["stage"] += 1
        elif state == "cancelled":
            assert said == "thermo 2.0.0 is cancelled: publish a higher version instead"
        elif stage is not None and (action == "hold" and held or action == "unhold" and not held):
            assert said is None
        elif last or action == "advance" and state != "active":
            assert said.startswith("thermo 2.0.0 ") and (last or "is " + state) in said, (state, stage, held, action)
        else:
            assert said is None, (state, stage, held, action)
            after = {"advance": {"stage": stage + 1 if stage is not None else None, "held": held and stage == 0}}.get(
                action, {"stage": stage, "held": action == "hold"}
            )
        assert cloud.site.database.read(get, id) == after, (state, stage, held, action)


def act(cloud, id, action, before):
    """Let the time pass, or do what an operator does; return (a copy of `before`, the error or None)."""
    try:
        if action == "time":
            at_s = cloud.now_s + 25 * HOUR
            if verdict := cloud.site.database.read(stage_gates.judge_by_id, id, at_s):
                # The transaction checks the conditions again, so it is asked even if some are not met.
                assert cloud.site.database.write(stage_gates.pass_gate, id, verdict, at_s) == (not verdict.waits)
        elif action == "advance":
            control.advance(cloud.site, id)
        else:
            control.hold(cloud.site, id, action == "hold")
    except CloudError as e:
        return dict(before), str(e)
    return dict(before), None


def put(conn, id, values):
    conn.execute(releases.update().where(releases.c.id == id).values(values))


def get(conn, id):
    found = conn.execute(releases.select().where(releases.c.id == id)).mappings().one()
    return {"stage": found["stage"], "held": found["held"]}


def test_a_hold_stops_the_time_but_not_an_operator(cloud):
    cloud.publish("2.0.0", stages=PLAN, gate="none")
    control.hold(cloud.site, UPDATE, True)
    look(cloud, 48 * HOUR)
    assert number(cloud) == 1 and waits(cloud) == ["hold"]
    assert control.advance(cloud.site, UPDATE, 1)["stages"]["stage"] == 2 and shown(cloud)["held"]
    with pytest.raises(CloudError, match="stage 1: thermo 2.0.0 is in stage 2 now"):
        control.advance(cloud.site, UPDATE, 1)  # a second click
    control.hold(cloud.site, UPDATE, False)
    look(cloud, 24 * HOUR)
    assert number(cloud) == 3
    actions = [each["action"] for each in overview.update(cloud.site, UPDATE)["audit"]][::-1]
    assert actions == ["release." + each for each in ("published", "held", "advanced", "unheld", "advanced")]


def test_the_last_stage_ends_a_hold_and_the_audit_log_says_so(cloud):
    cloud.publish("2.0.0", stages="10% 1h, 100%", gate="none")
    control.hold(cloud.site, UPDATE, True)
    assert not control.advance(cloud.site, UPDATE)["stages"]["held"]
    unheld, advanced, *_ = overview.update(cloud.site, UPDATE)["audit"]
    assert [each["action"] for each in (advanced, unheld)] == ["release.advanced", "release.unheld"]
    assert unheld["who"] == advanced["who"] and unheld["detail"]["stage"] == advanced["detail"]["stage"] == 2


@pytest.mark.sweep
def test_the_command_advances_from_the_stage_that_the_operator_saw(cloud, ioto):
    cloud.publish("2.0.0", stages=PLAN)
    advance = lambda: ioto("updates", "advance", UPDATE, "--stage", "1", "--data", "site", ok=False)
    assert advance().stdout == "thermo 2.0.0 is in stage 2 of 3 (50%)\n"
    assert advance().stderr == "Error: stage 1: thermo 2.0.0 is in stage 2 now\n" and number(cloud) == 2


def test_the_stop_rule_wins_and_a_resumed_stage_begins_its_time_again(cloud):
    cloud.publish("2.0.0", stages="50% 1h, 100%", gate="none", stop="50% after 2")
    here = members(cloud)
    for id in here[10][:2]:
        ask(cloud, id)
        cloud.now_s += HOUR // 2
        send_report(cloud, id, "failed")  # the second one: at the very end of the stage
    assert overview.update(cloud.site, UPDATE)["state"] == "paused" and number(cloud) == 1
    look(cloud, 10 * HOUR)
    assert number(cloud) == 1 and waits(cloud) == ["status", "stop"]
    control.set_terms(cloud.site, UPDATE, {"stop": "none"})
    control.change_state(cloud.site, UPDATE, "resumed")
    look(cloud, HOUR - 1)
    assert number(cloud) == 1 and waits(cloud) == ["soak"]
    look(cloud, 1)
    assert number(cloud) == 2


def test_approval_and_enabling_begin_the_time(cloud):
    for version, published, begin in (
        ("2.0.0", {"by_hand": True}, lambda word: control.change_state(cloud.site, word, "approved")),
        ("2.1.0", {"enabled": False}, lambda word: control.enable(cloud.site, word, True)),
    ):
        cloud.publish(version, stages=PLAN, gate="none", **published)
        look(cloud, 5 * HOUR)
        found = begin("thermo@" + version)
        assert found["stages"]["stage"] == 1 and found["stages"]["due_s"] == cloud.now_s + HOUR


def test_terms_changed_by_hand(cloud):
    cloud.publish("2.0.0", stages=PLAN)
    begun_s = cloud.now_s
    with pytest.raises(CloudError, match="^percentage 20: the stages set it"):
        control.set_terms(cloud.site, UPDATE, {"percentage": "20"})
    control.set_terms(cloud.site, UPDATE, {"percentage": "10", "limit": "5"})  # as the page sends it
    control.advance(cloud.site, UPDATE)
    cloud.now_s += HOUR
    found = control.set_terms(cloud.site, UPDATE, {"stages": "1% 1h, 5% 1h, 50% 3h, 100%"})
    assert (found["stages"]["stage"], found["stages"]["since_s"]) == (3, begun_s)  # the stage with 50 %
    found = control.set_terms(cloud.site, UPDATE, {"stages": "1% 1h, 100%"})
    assert (found["stages"]["stage"], found["stages"]["since_s"]) == (1, cloud.now_s)
    assert found["terms"]["percentage"] == 1
    found = control.set_terms(cloud.site, UPDATE, {"stages": "none", "gate": "none"})
    assert found["stages"] is None and found["terms"]["percentage"] == 1 and found["terms"]["gate"] is None
    with pytest.raises(CloudError, match="^gate health: the release has no stages"):
        control.set_terms(cloud.site, UPDATE, {"gate": "health"})
    found = control.set_terms(cloud.site, UPDATE, {"percentage": "30"})
    assert found["terms"]["percentage"] == 30
    found = control.set_terms(cloud.site, UPDATE, {"stages": "20% 1h, 30%"})
    assert found["stages"]["stage"] == 1 and found["terms"]["gate"] == stages.DEFAULT_GATE
    with pytest.raises(CloudError, match="^percentage 20: the stages set it"):
        cloud.publish("3.0.0", stages=PLAN, percentage="20")


def test_a_hold_ends_when_a_changed_plan_makes_the_stage_the_last(cloud):
    cloud.publish("2.0.0", stages=PLAN)
    control.hold(cloud.site, UPDATE, True)
    assert not control.set_terms(cloud.site, UPDATE, {"stages": "5% 1h, 10%"})["stages"]["held"]


def test_small_stages_give_a_warning(cloud):
    for n in range(20):
        ask(cloud, "D%d" % n)
    cloud.publish("2.0.0", stages="50% 1h, 60% 1h, 100%", gate="5 finished")
    [said] = term_warnings.of_update(cloud.site, overview.update(cloud.site, UPDATE))
    assert said == (
        "gate: it waits until 5 devices have finished in each stage, but stage 2 has only about 2 of the product's 20 "
        "devices"
    )


# ---- health


def sent(least, wdt=0, **more):
    return {"health": {"free": least + 1000, "least": least, "resets": {"wdt": wdt, "power": 5}} | more}


@pytest.mark.parametrize("new, old, says", (
    (sent(48000), sent(60000), ()),
    (sent(47999), sent(60000), ("free heap 47999 bytes, before 60000",)),
    (sent(60000, 1), sent(60000), ("unexpected resets 1.00 for each check-in, before 0.00",)),
    (sent(60000, 2), sent(60000, 1), ()),
    (sent(60000, 10**9), sent(60000, 4), ("unexpected resets 10.00 for each check-in, before 4.00",)),
    (sent(1, 9), sent(6), ("free heap 1 bytes, before 6", "unexpected resets 9.00 for each check-in, before 0.00")),
    ({"health": {"free": 5}}, {"health": {"least": 9}}, ("free heap 5 bytes, before 9",)),
    ({}, sent(60000), ()),
    ({"health": {"least": "x", "free": True, "resets": [1]}}, {"health": 7}, ()),
    ({"health": {"least": -1, "free": 1.5, "resets": {"wdt": "9", "hard": -1}}}, sent(5), ()),
))  # fmt: skip
def test_worse_health(new, old, says):
    for count in (9, 10):
        sides = [[health_comparison.sample(each) for _ in range(count)] for each in (new, old)]
        found = health_comparison.compare(*sides)
        assert found.worse == (says if count == 10 else ())
        assert len(found.ignored) == 2 or count == 10
    assert len(health_comparison.compare([], sides[1]).ignored) == 2


@pytest.mark.parametrize("new", (sent(60000), sent(40000), {}))
def test_health_is_compared_with_the_version_before(cloud, new):
    cloud.publish("2.0.0", stages="50% 1h, 100%")
    here = members(cloud, count=40)
    for id in [*here[10], *here[50]]:
        ask(cloud, id, **sent(60000))
        ask(cloud, id, "2.0.0", **new)
    for id in here[100]:
        ask(cloud, id, **sent(60000))
    ask(cloud, "OLDEST", "0.1.0", **sent(1))  # most did not run this version before
    look(cloud, HOUR)
    says = ["health: free heap 40000 bytes, before 60000"] if new == sent(40000) else []
    assert [each["says"] for each in shown(cloud)["waits"]] == says and number(cloud) == (1 if says else 2)
    if new == {}:
        [row] = [each for each in cloud.site.database.read(audit.newest) if each["action"] == "release.advanced"]
        assert row["detail"]["ignored"] == [
            "%s: too little data: sent by 0 devices with the release and %d with the version before, 10 needed"
            % (name, len(here[100]))
            for name in ("free heap", "resets")
        ]


# ---- API and page


def test_the_api_moves_a_release_through_its_stages(cloud):
    cloud.publish("2.0.0", stages=PLAN)
    token = operator_tokens.new(cloud.site, "op", "publish", None)["token"]

    def move(**body):
        headers = {"authorization": "bearer " + token, "content-type": "application/json"}
        return call(cloud.app, "POST", "/api/v1/releases/%s/move" % UPDATE, headers, json.dumps(body).encode())

    assert move(move="hold").json()["stages"]["held"] and not move(move="unhold").json()["stages"]["held"]
    assert move(move="advance", stage=1).json()["stages"]["stage"] == 2
    assert move(move="advance", stage=1).status == 409 and move(move="advance").json()["stages"]["stage"] == 3
    assert move(move="advance").status == 409 and move(move="advance", stage=0).status == 400


def test_stages_are_shown_held_and_advanced(cloud):
    operator = Session(cloud)
    id = cloud.publish("2.0.0", stages="10% 1h, 50% 1d, 100%", gate="3 finished")["id"]
    shown = text(operator.get("release?id=" + id))
    assert "10 % for at least 1 hour now , since 0 s ago 50 % for at least 1 day 100 %" in shown
    assert "The next stage waits for: until 2027-01-15 09:00:00 UTC 3 more finished devices Advance now Hold" in shown
    control.set_terms(cloud.site, id, {"limit": "7"})
    for name in ("release", "progress"):
        assert "Advance now" not in text(Session(cloud, name, "read").get("%s?id=%s" % (name, id)))
    act = lambda action, **more: operator.post("release", {"id": id, "action": action, **more})
    assert act("hold").status == 303 and "the end of the hold" in text(operator.get("progress?id=" + id))
    assert act("unhold").status == 303 and "the end of the hold" not in text(operator.get("progress?id=" + id))
    assert act("advance", stage="1").status == 303 and overview.update(cloud.site, id)["stages"]["stage"] == 2
    assert "thermo 2.0.0 is in stage 2 now" in problem(act("advance", stage="1"))
    form = {"id": id, "stages": "10% 1h, 50% 2d, 100%", "gate": "", "percentage": "50"}
    assert operator.post("terms", form).status == 303
    found = overview.update(cloud.site, id)
    assert (found["stages"]["stage"], found["terms"]["gate"]) == (2, "3 finished") and found["terms"]["limit"] is None
    assert "percentage 10: the stages set it" in problem(operator.post("terms", form | {"percentage": "10"}))
    assert operator.post("terms", form | {"stages": ""}).status == 303
    found = overview.update(cloud.site, id)
    assert found["stages"] is None and found["terms"]["percentage"] == 50
    assert "Stages" not in text(operator.get("progress?id=" + id))
