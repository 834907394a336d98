"""A release is offered in steps to a simulated fleet: each step is exact, and the stop rule pauses it in time."""

import json

import population
import pytest
import sqlalchemy as sa
from ioto_tools.cloud.operators import control, overview
from ioto_tools.cloud.rules import update_states
from ioto_tools.cloud.storage.tables import audit
from ioto_tools.fleet import phases
from ioto_tools.fleet.simulated_time import InProcessClient

MINUTE_S = 60
HOUR_S = 3600


class Ledger:
    """Passes requests on to the cloud and keeps its own records of an update, made from requests and answers alone.

    It records when each device was first offered the update, in which state the update ended on it, and when the stop
    rule (`percent` after `least`) first applied.
    """

    def __init__(self, world):
        self.world, self.app = world, world.app
        self.update = self.version = None
        self.rule = None
        self.offers = {}  # device -> time of its first offer
        self.ended = {}  # device -> state
        self.bad = 0  # number of devices in `ended` that failed
        self.fired = self.fired_s = None  # the devices in `offers` when the rule first applied, and the time

    def watch(self, release, percent=None, least=None):
        self.update, self.version = release["id"], release["version"]
        self.rule = percent and (percent, least)
        return self.update

    async def __call__(self, scope, receive, send):
        message = await receive()
        said = json.loads(message["body"] or b"{}")
        answer = []

        async def again():
            return message

        async def seen(part):
            answer.append(part.get("body", b""))
            await send(part)

        await self.app(scope, again, seen)
        if scope["path"] == "/tok/provision/update":
            self.checked_in(said, json.loads(b"".join(answer)))
        elif scope["path"] == "/tok/provision/updateReport" and said["update"] == self.update:
            self.end(said["id"], update_states.event_of_report(said["state"], said["reason"]))

    def checked_in(self, said, answer):
        if said["id"] in self.offers and said["version"] == self.version:
            self.end(said["id"], "confirmed")  # the check-in of the trial
        if answer.get("update", 0) == self.update:
            self.offers.setdefault(said["id"], self.world.clock.now_s)

    def end(self, device, state):
        if state in update_states.FINISHED:
            self.bad += (state in update_states.FAILURES) - (self.ended.get(device) in update_states.FAILURES)
            self.ended[device] = state
        if (
            self.rule
            and self.fired is None
            and len(self.ended) >= self.rule[1]
            and self.bad * 100 >= self.rule[0] * len(self.ended)
        ):
            self.fired, self.fired_s = set(self.offers), int(self.world.clock.now_s)


class Rollout:
    """A world with `devices` registered devices that run 1.0.0."""

    def __init__(self, world, devices, period_s, **settings):
        self.world = world
        self.ledger = Ledger(world)
        self.period_s = period_s
        fleet = world.start_fleet(
            self.ledger, devices=devices, period_s=period_s, prefix=population.PREFIX, download="none", **settings
        )
        self.ids = [population.id_of(n) for n in range(devices)]
        like = InProcessClient(world.app)
        token = json.loads(like.post("/device/register", fleet.settings.product, {"id": "LIKE"}).body)["token"]
        assert like.post("/tok/provision/update", token, {"id": "LIKE", "version": "1.0.0"}).status == 200
        population.fill(world.site, "LIKE", 0, devices)
        for n in range(devices):
            fleet.devices.token[n], fleet.devices.phase[n] = population.token_of(n), phases.IDLE

    def run(self, periods=1):
        """Run for `periods` check-ins of each device, plus one second in which the cloud notices changes."""
        self.world.simulation.run(periods * self.period_s + 1)

    def offered(self):
        return set(self.ledger.offers)

    def granted(self):
        return sum(overview.update(self.world.site, self.ledger.update)["states"].values())


def check_steps(world, devices, windows):
    """Percentage, then limit, then rate: after each step, exactly the devices that it allows have an offer."""
    shares = {phases.UNREPORTED: 0.9, phases.CRASH: 0.02, phases.REFUSE: 0.02, phases.DEFER: 0.02}
    fleet = Rollout(world, devices, 5 * MINUTE_S, apply_s=MINUTE_S, retry_s=MINUTE_S, put_off_s=MINUTE_S, shares=shares)
    update = fleet.ledger.watch(world.publish("1.1.0", said={"percentage": "5"}))
    share = {id: update_states.rollout_position(update, id) for id in fleet.ids}

    def among(percentage):
        return {id for id in fleet.ids if share[id] < percentage}

    fleet.run()
    assert fleet.offered() == among(5)
    control.set_terms(world.site, update, {"percentage": "12.5"})
    fleet.run()
    assert fleet.offered() == among(12.5)
    limit = len(among(12.5)) + devices // 20
    control.set_terms(world.site, update, {"percentage": "60", "limit": str(limit)})
    fleet.run()
    assert len(fleet.offered()) == limit == fleet.granted() and among(12.5) < fleet.offered() < among(60)
    check_rate(world, fleet, update, devices, windows)


def check_rate(world, fleet, update, devices, windows):
    """The rate is a tenth of all devices per 75 s: no window has more offers, and none far fewer while devices wait.

    `windows`: number of windows; None: until all devices were offered the release. This takes another period, in which
    the devices that got no offer because of the rate check in again.
    """
    there, rate, window_s = len(fleet.offered()), devices // 10, 75
    control.set_terms(
        world.site, update, {"percentage": "none", "limit": "none", "rate": str(rate), "period": "%d secs" % window_s}
    )
    full = windows or (devices - there) // rate
    fleet.run((full * window_s + (0 if windows else fleet.period_s + window_s)) / fleet.period_s)
    times = sorted(fleet.ledger.offers.values())[there:]
    assert sum(each < times[0] + window_s for each in times) == rate
    early = [(a, b) for a, b in zip(times, times[rate:]) if b - a < window_s]
    assert not early, "more than %d in %d s: %s" % (rate, window_s, early[:3])
    assert len(times) > 0.9 * rate * full
    assert len(fleet.offered()) == fleet.granted()
    assert windows or fleet.offered() == set(fleet.ids)


def test_percentage_limit_and_rate_admit_only_allowed_devices(world):
    check_steps(world, 500, 2)


@pytest.mark.sweep
def test_percentage_limit_and_rate_with_eight_thousand_devices(world):
    check_steps(world, 8000, None)


@pytest.mark.sweep
@pytest.mark.parametrize("terms, allowed", [
    ({"limit": "1"}, (1, 1, 1)), ({"limit": "7"}, (7, 7, 7)), ({"rate": "1", "period": "1 hour"}, (1, 2, 3)),
        ({"rate": "2", "period": "1 hour"}, (2, 4, 6)),
    ({"limit": "3", "rate": "2", "period": "1 hour"}, (2, 3, 3)), ({"percentage": "0"}, (0, 0, 0)),
])  # fmt: skip
def test_smallest_limits_and_rates(world, terms, allowed):
    fleet = Rollout(world, 40, 5 * MINUTE_S, apply_s=MINUTE_S)
    fleet.ledger.watch(world.publish("1.1.0", said=terms))
    for most in allowed:
        fleet.run(11)
        assert len(fleet.offered()) == most
        fleet.run(1.1)


@pytest.mark.parametrize("percent, least, shares, seed", [
    pytest.param(10, 50, {phases.UNREPORTED: 0.5, phases.CRASH: 0.15}, 1, marks=pytest.mark.sweep),
    pytest.param(25, 20, {phases.UNREPORTED: 0.6, phases.FAIL: 0.2, phases.CRASH: 0.1}, 1, marks=pytest.mark.sweep),
    (15, 5, {phases.UNREPORTED: 0.7, phases.CRASH: 0.12}, 3),  # 8 of 58 are below 15 %, 9 of 59 are not
])  # fmt: skip
def test_stop_rule_pauses_the_release_at_once(world, percent, least, shares, seed):
    """The report that makes the rule apply pauses the release; no device is offered the release after that."""
    fleet = Rollout(world, 300, HOUR_S, apply_s=3 * MINUTE_S, retry_s=MINUTE_S, shares=shares, seed=seed)
    update = fleet.ledger.watch(
        world.publish("1.1.0", said={"stop": "%d%% after %d" % (percent, least)}), percent, least
    )
    fleet.run(1.5)
    stopped = overview.update(world.site, update)
    assert fleet.ledger.fired is not None and stopped["state"] == "paused"
    assert fleet.offered() == fleet.ledger.fired and least <= len(fleet.offered()) < 300
    stops = sa.select(audit.c.at_s).where(audit.c.action == "release.stopped", audit.c.subject == update)
    assert world.site.database.read(lambda conn: conn.execute(stops).scalars().all()) == [fleet.ledger.fired_s]


@pytest.mark.sweep
def test_release_continues_below_the_stop_rule(world):
    """Refusals arrive first: a quarter of the first 20 devices fail, but never a quarter of 60 or more."""
    fleet = Rollout(
        world,
        150,
        HOUR_S,
        apply_s=3 * MINUTE_S,
        retry_s=MINUTE_S,
        shares={phases.UNREPORTED: 0.8, phases.CRASH: 0.05, phases.REFUSE: 0.1},
    )
    update = fleet.ledger.watch(world.publish("1.1.0", said={"stop": "25% after 60"}), 25, 60)
    fleet.run(1.5)
    assert fleet.ledger.fired is None and overview.update(world.site, update)["state"] == "active"
    assert fleet.offered() == set(fleet.ids)
