"""Rollout slots on both databases: never more than allowed, in any order of events; in the end, all are granted."""

import random
from collections import Counter

import pytest
import sqlalchemy as sa
from cloud_under_test import esp_image
from ioto_tools.cloud.devices import registration
from ioto_tools.cloud.operators import control, overview
from ioto_tools.cloud.releases.publish import new_product, publish
from ioto_tools.cloud.rollout import grants, leases, offers
from ioto_tools.cloud.storage import change_log
from ioto_tools.cloud.storage.tables import grants as grant_rows
from ioto_tools.cloud.storage.tables import leases as lease_rows
from ioto_tools.cloud.storage.tables import releases as release_rows

BOTH = True
START = 1_800_000_000
WORKERS = ("A", "B", "C")


class RolloutUnderTest:
    """A site with a release, devices that ask a worker for it, and a clock. `got` contains the time of each offer."""

    def __init__(self, make_site, folder, **said):
        self.now_s = START
        self.site = make_site(folder / "site", clock=lambda: self.now_s)
        new_product(self.site, "thermo", "P7")
        (folder / "image.bin").write_bytes(esp_image(b"new"))
        self.update = publish(
            self.site, folder / "image.bin", "thermo", "2.0.0", said={name: str(value) for name, value in said.items()}
        )[0]["id"]
        self.count = 0
        self.got = []

    def ask(self, worker, device=None, waited_s=0):
        """Let `device`, or a new device, ask the worker, `waited_s` ago; return whether it was offered the release."""
        if device is None:
            self.count += 1
            device = "D%d" % self.count
            registration.register_by_hand(self.site, "P7", device)
        device = self.site.database.read(overview.find_device, device)["key"]
        known = self.site.database.read(grants.of_device, device)
        asked_s = int(self.now_s) - waited_s
        asked = offers.Asked(
            device, self.update, None, "1.0.0", known, worker, self.seq(), asked_s, self.site.now_rounded_up_s
        )
        [held] = self.site.database.write(offers.offer, [asked])
        if isinstance(held, leases.NoFreeSlot):
            self.full = held
        if isinstance(held, Exception):
            return False
        assert held[self.update].state == "offered"
        self.got.append(self.now_s)
        return True

    def seq(self):
        return self.site.database.read(change_log.last)

    def rows(self, table, column):
        return self.site.database.read(lambda conn: conn.execute(sa.select(column).select_from(table)).scalars().all())

    def check(self, limit=None, rate=None, period_s=1):
        """Check that the database agrees with the offers, and that no quota is exceeded."""
        [taken], slots = self.rows(release_rows, release_rows.c.taken), self.rows(lease_rows, lease_rows.c.places)
        granted = self.rows(grant_rows, grant_rows.c.granted_s)
        assert all(n >= 0 for n in slots) and taken - sum(slots) == len(granted) == len(self.got)
        assert self.site.database.read(leases.slots_in_use) == {self.update: len(granted)}
        assert limit is None or taken <= limit
        for ends in self.got if rate else ():
            assert sum(ends - period_s < each <= ends for each in self.got) <= rate, ends


@pytest.fixture
def make_rollout(make_site, tmp_path):
    made = []

    def make(**said):
        made.append(RolloutUnderTest(make_site, tmp_path, **said))
        return made[-1]

    yield make
    for each in made:
        each.site.close()


@pytest.mark.sweep
@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.sweep) for n in range(1, 20))])
def test_limits_hold_while_workers_die_and_operators_change_the_release(make_rollout, seed):
    draw = random.Random(seed)
    limit, rate, period_s = 40, 9, 30
    rollout = make_rollout(limit=limit, rate=rate, period="30 secs")
    for _ in range(150):
        step = draw.random()
        if step < 0.75:
            rollout.ask(draw.choice(WORKERS))
        elif step < 0.95:
            rollout.now_s += draw.choice((0.2, 0.5, 1, 3, 11))
        else:
            action = draw.choice(("paused", "percentage", "limit"))
            if action == "paused":
                control.change_state(rollout.site, rollout.update, "paused")
                assert not rollout.ask(draw.choice(WORKERS))
                control.change_state(rollout.site, rollout.update, "resumed")
            else:
                control.set_terms(rollout.site, rollout.update, {action: str(draw.choice((20, 40)))})
                control.set_terms(rollout.site, rollout.update, {"limit": "40"})
        rollout.check(limit, rate, period_s)
    while len(rollout.got) < limit:  # as if the workers had been killed: their unused slots are returned
        rollout.now_s += leases.LEASE_S + 1
        before = len(rollout.got)
        for _ in range(rate + 1):
            rollout.ask("Z")
        rollout.check(limit, rate, period_s)
        assert len(rollout.got) - before <= rate
    assert not rollout.ask("A") and rollout.full.why == "limit" and rollout.full.until_s is None


@pytest.mark.sweep
def test_a_block_is_leased_once_and_spent_slot_by_slot(make_rollout):
    rollout = make_rollout()
    for n in range(leases.BLOCK + 1):
        assert rollout.ask("A")
        [slots] = rollout.rows(lease_rows, lease_rows.c.places)
        assert slots == (leases.BLOCK - 1 - n) % leases.BLOCK
    rollout.check()


def test_few_slots_are_shared_by_all_workers(make_rollout):
    """With a small limit, no worker leases so many slots that other workers get none."""
    rollout = make_rollout(limit=16)
    got = Counter(worker for _ in range(3) for worker in WORKERS if rollout.ask(worker))
    assert got == dict.fromkeys(WORKERS, 3)
    rollout.check(16)


@pytest.mark.sweep
def test_the_slots_of_an_idle_worker_are_returned_after_the_lease_time(make_rollout):
    rollout = make_rollout(limit=leases.PART * 4)
    assert rollout.ask("A")  # worker A has leased three more slots
    while rollout.ask("B"):
        pass
    assert rollout.full.why == "limit" and rollout.full.until_s == START + 1 and len(rollout.got) < leases.PART * 4
    rollout.now_s += leases.LEASE_S
    assert not rollout.ask("B")
    rollout.now_s += 1
    while rollout.ask("B"):
        pass
    assert len(rollout.got) == leases.PART * 4 and rollout.full.until_s is None
    rollout.check(leases.PART * 4)


@pytest.mark.sweep
def test_slots_leased_with_a_wrong_clock_are_returned(make_rollout):
    rollout = make_rollout(limit=leases.PART * 4)
    rollout.now_s += 400 * 86400
    assert rollout.ask("A")  # worker A has leased three more slots
    rollout.now_s -= 400 * 86400
    while rollout.ask("B"):
        pass
    assert len(rollout.got) == leases.PART * 4 and rollout.full.until_s is None
    rollout.check(leases.PART * 4)


def test_a_request_that_waited_for_the_database_does_not_take_recent_grants_for_future_ones(make_rollout):
    """Its own time is older than the last grants, by more than the tolerance of clocks."""
    rollout = make_rollout(rate=2, period="1 min")
    assert rollout.ask("A") and rollout.ask("B")
    assert not rollout.ask("A", waited_s=leases.CLOCK_TOLERANCE_S + 5) and not rollout.full.ahead
    assert rollout.full.until_s == START + 60
    rollout.check(rate=2, period_s=60)


def test_a_rate_continues_after_the_clock_was_ahead(make_rollout):
    """The clock was two days ahead: slots granted then count as granted now, so the next ones follow a period later."""
    rollout = make_rollout(rate=2, period="1 hour")
    rollout.now_s += 48 * 3600
    assert rollout.ask("A") and rollout.ask("A") and not rollout.ask("A")
    rollout.now_s -= 48 * 3600
    assert not rollout.ask("A") and rollout.full.ahead and rollout.full.until_s == START + 1
    rollout.site.database.write(leases.reset_future_grants, rollout.update, rollout.now_s)
    assert not rollout.ask("A") and not rollout.full.ahead and rollout.full.until_s == START + 3600
    rollout.now_s += 3599
    assert not rollout.ask("B")
    rollout.now_s += 1
    assert rollout.ask("B") and rollout.ask("A") and not rollout.ask("A")


@pytest.mark.sweep
def test_rates_are_kept_and_used_up_at_any_moment(make_rollout):
    """Requests arrive at fractions of a second; each period has at most `rate` grants, and not many fewer."""
    for number, (rate, period_s) in enumerate(((1, 1), (1, 5), (3, 2), (10, 7))):
        if not number:
            rollout = make_rollout(rate=rate, period="%d secs" % period_s)
        else:
            control.set_terms(rollout.site, rollout.update, {"rate": str(rate), "period": "%d secs" % period_s})
            rollout.now_s += 60
        begins = len(rollout.got)
        mine = []
        for _ in range(40):
            rollout.now_s += 0.35
            if rollout.ask("A"):
                mine.append(rollout.now_s)
        for ends in mine:
            assert sum(ends - period_s < each <= ends for each in mine) <= rate, (rate, period_s, mine)
        spent_s = 40 * 0.35
        assert len(mine) >= rate * (spent_s // (period_s + 1)), (rate, period_s)
        assert len(rollout.got) == begins + len(mine)
    rollout.check()


def test_a_full_rate_returns_the_time_of_the_next_slot(make_rollout):
    rollout = make_rollout(rate=2, period="100 secs")
    assert rollout.ask("A")
    rollout.now_s += 30
    assert rollout.ask("A")
    rollout.now_s += 30
    assert not rollout.ask("A") and rollout.full.why == "rate" and rollout.full.until_s == START + 100
    rollout.now_s = START + 99
    assert not rollout.ask("A")
    rollout.now_s = START + 100
    assert rollout.ask("A") and not rollout.ask("A") and rollout.full.until_s == START + 130


@pytest.mark.sweep
def test_every_change_by_an_operator_revokes_the_leases(make_rollout):
    rollout = make_rollout(limit=1000)
    changes = (
        lambda: control.change_state(rollout.site, rollout.update, "paused"),
        lambda: control.change_state(rollout.site, rollout.update, "resumed"),
        lambda: control.enable(rollout.site, rollout.update, False),
        lambda: control.enable(rollout.site, rollout.update, True),
        lambda: control.set_terms(rollout.site, rollout.update, {"policy": "false"}),
        lambda: control.change_state(rollout.site, rollout.update, "cancelled"),
    )
    for change in changes:
        got = rollout.ask("A")
        assert got == bool(rollout.rows(lease_rows, lease_rows.c.places))
        change()
        assert rollout.rows(lease_rows, lease_rows.c.places) == []
        rollout.check(1000)
    assert not rollout.ask("A")


def test_a_device_takes_one_slot_however_often_it_asks_any_worker(make_rollout):
    rollout = make_rollout(limit=3)
    assert rollout.ask("A")
    rollout.got.clear()
    for worker in WORKERS * 3:
        assert rollout.ask(worker, "D1")
    rollout.got[:] = rollout.got[:1]
    rollout.check(3)
    assert rollout.ask("B") and rollout.ask("C") and not rollout.ask("A")
