"""Simulated fleets with the real cloud, in simulated time: devices, cloud and statistics agree on every outcome."""

import json
import zlib

import pytest
from ioto_tools.cloud.operators import control, overview
from ioto_tools.cloud.rollout import lost_devices
from ioto_tools.fleet import phases

HOUR_S = 3600
DAY_S = 24 * HOUR_S
SHARES = {"crash": 0.12, "fail": 0.1, "refuse": 0.1, "lose": 0.1, "revert": 0.1, "defer": 0.12, "mute": 0.1}
ENDS = {  # outcome -> (last version, state of the update on the device, state in which the last attempt ended)
    phases.GOOD: ("1.1.0", "confirmed", "confirmed"),
    phases.CRASH: ("1.0.0", "failed", "failed"),  # its attempts are used up
    phases.FAIL: ("1.0.0", "failed", "failed"),  # the update is offered, and the failure reported, twice more
    phases.REFUSE: ("1.0.0", "unfit", "unfit"),
    phases.LOSE: ("1.0.0", "lost", "lost"),
    phases.REVERT: ("1.0.0", "offered", "reverted"),
    phases.DEFER: ("1.1.0", "confirmed", "confirmed"),
    phases.UNREPORTED: ("1.1.0", "confirmed", "confirmed"),
}


def outcomes(world, version):
    return [world.settings.outcome(n, zlib.crc32(version.encode())) for n in range(world.settings.devices)]


@pytest.mark.sweep
def test_each_device_ends_in_the_state_of_its_outcome(world):
    fleet = world.start_fleet(
        devices=120, period_s=6 * HOUR_S, jitter_s=600, relapse_s=DAY_S, shares=SHARES, repeats=0.3, download="whole"
    )
    world.simulation.run(6 * HOUR_S)
    assert fleet.tally.answers["register"] == {200: 120} == fleet.tally.answers["check_in"]
    world.publish("1.1.0")
    world.simulation.run(2 * DAY_S)
    drawn = outcomes(world, "1.1.0")
    assert set(drawn) == set(ENDS) and lost_devices.mark_silent(world.site) == drawn.count(phases.LOSE)
    devices = {each["id"]: each for each in overview.devices(world.site)}
    for n, outcome in enumerate(drawn):
        stored = devices[world.settings.id(n)]
        assert (stored["version"], stored["update"]["state"], stored["update"]["ended"]) == ENDS[outcome], (n, outcome)
        assert fleet.devices.versions[fleet.devices.version[n]] == stored["version"], (n, outcome)
        assert fleet.devices.phase[n] == (phases.GONE if outcome == phases.LOSE else phases.IDLE)
    reported = fleet.tally.reports
    assert reported["rolled_back"] == 3 * drawn.count(phases.CRASH) and reported["deferred"] == 2 * drawn.count(
        phases.DEFER
    )
    assert reported["downloading"] == 120 - drawn.count(phases.REFUSE) - drawn.count(phases.UNREPORTED)
    assert not fleet.tally.faults and fleet.tally.bytes == 4096 * (120 - drawn.count(phases.REFUSE))
    assert all(set(said) <= {200} for said in fleet.tally.answers.values())
    repeated = sum(
        each["times"] - 1
        for id in devices
        for each in overview.device(world.site, id)["reports"]
        if each["state"] != "deferred"
    )
    assert 0.15 < repeated / sum(reported.values()) < 0.45


@pytest.mark.sweep
def test_higher_release_replaces_a_staged_one(world):
    fleet = world.start_fleet(devices=30, period_s=HOUR_S, apply_s=10 * HOUR_S)
    world.publish("1.1.0")
    world.simulation.run(3 * HOUR_S)
    world.publish("1.2.0")
    world.simulation.run(20 * HOUR_S)
    assert fleet.devices.counts() == ({"1.2.0": 30}, {"idle": 30})
    states = {each["version"]: each["states"] for each in overview.updates(world.site)}
    assert (
        states["1.2.0"] == {"confirmed": 30} and states["1.1.0"]["withdrawn"] > 5 and states["1.1.0"]["confirmed"] > 1
    )
    assert fleet.tally.reports["refused"] == states["1.1.0"]["withdrawn"]


class Trace:
    """Records an application's requests. `answer(count)` may return another answer: (status, headers, body)."""

    def __init__(self, app, answer=lambda count: None):
        self.app, self.answer = app, answer
        self.asked = []

    async def __call__(self, scope, receive, send):
        message = await receive()
        self.asked.append((scope["path"], dict(scope["headers"]), message["body"]))
        instead = self.answer(len(self.asked))
        if instead is None:

            async def again():
                return message

            return await self.app(scope, again, send)
        status, headers, body = instead
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@pytest.mark.sweep
def test_same_seed_sends_identical_requests(worlds):
    traces = []
    for seed in (5, 5, 6):
        world = worlds()
        trace = Trace(world.app)
        world.start_fleet(
            trace,
            devices=25,
            seed=seed,
            period_s=HOUR_S,
            shares=SHARES,
            repeats=0.2,
            properties={"region": ["north", "south"]},
        )
        world.publish("1.1.0")
        world.simulation.run(8 * HOUR_S)
        traces.append(trace.asked)
    assert traces[0] == traces[1] != traces[2] and len(traces[0]) > 300


def test_check_ins_follow_the_schedule_and_are_spread_over_it(world):
    times = {}
    trace = Trace(
        world.app, lambda count: times.setdefault(json.loads(trace.asked[-1][2])["id"], []).append(world.clock.now_s)
    )
    world.start_fleet(trace, devices=25, period_s=HOUR_S, jitter_s=60)
    start = world.clock.now_s
    world.simulation.run(12 * HOUR_S)
    assert len(times) == 25
    first = sorted(each[0] - start for each in times.values())
    assert first[0] < 600 and 3000 < first[-1] <= HOUR_S
    for each in times.values():
        assert len(each) in (12, 13)  # the registration, with a check-in at once, then one check-in an hour
        assert all(0 <= at - each[0] - hour * HOUR_S <= 61 for hour, at in enumerate(each[2:], 1))


def test_staged_update_is_applied_in_its_window_not_at_the_next_check_in(world):
    world.publish("1.1.0")
    fleet = world.start_fleet(devices=20, period_s=DAY_S, apply_s=HOUR_S)
    world.simulation.run(DAY_S + HOUR_S + 60)
    assert fleet.devices.counts() == ({"1.1.0": 20}, {"idle": 20})


@pytest.mark.sweep
def test_outage_loses_no_device_and_no_token(world):
    unavailable = (503, [(b"retry-after", b"30"), (b"content-length", b"2")], b"{}")
    until, held = [0], {}

    def answer(count):
        id, now_s = json.loads(trace.asked[-1][2])["id"], world.clock.now_s
        assert now_s >= held.pop(id, 0), "%s did not wait for Retry-After" % id
        if now_s >= until[0]:
            return None
        held[id] = now_s + 30
        return unavailable

    trace = Trace(world.app, answer)
    fleet = world.start_fleet(
        trace, devices=25, period_s=HOUR_S, shares={"crash": 0.2, "defer": 0.2}, strangers=0.5, download="none"
    )
    world.publish("1.1.0")
    for hour in range(12):
        until[0] = world.clock.now_s + HOUR_S / 4
        world.simulation.run(HOUR_S)
    world.simulation.run(12 * HOUR_S)
    refused = {kind: said.get(503, 0) for kind, said in fleet.tally.answers.items()}
    assert all(refused[kind] for kind in ("register", "check_in", "report")), refused
    assert fleet.tally.answers["register"][200] == 25
    crashed = outcomes(world, "1.1.0").count(phases.CRASH)
    assert overview.updates(world.site)[0]["states"] == {"confirmed": 25 - crashed, "failed": crashed}


def test_removed_device_registers_again(world):
    fleet = world.start_fleet(devices=10, period_s=HOUR_S)
    world.simulation.run(HOUR_S)
    control.remove(world.site, world.settings.id(3))
    world.simulation.run(2 * HOUR_S)
    assert fleet.tally.answers["register"] == {200: 11} and fleet.tally.answers["check_in"][404] == 1
    assert len(overview.devices(world.site)) == 10 and fleet.devices.counts()[1] == {"idle": 10}


def test_corrupt_image_is_counted_as_a_fault(world):
    fleet = world.start_fleet(devices=3, period_s=HOUR_S, download="whole")
    release = world.publish("1.1.0")
    path = world.site.images.path(release["checksum"])
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    world.simulation.run(2 * HOUR_S)
    assert fleet.tally.faults == {"an image with another SHA-256": 3}
