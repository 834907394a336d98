"""The places of a release: never one too many in any order of things, and in the end every one of them, on both
databases.
"""

import random
from collections import Counter

import pytest
import sqlalchemy as sa
from cloud_under_test import esp_image
from ioto_tools.cloud.devices import registration
from ioto_tools.cloud.operators import control, overview
from ioto_tools.cloud.releases.publish import new_product, publish
from ioto_tools.cloud.rollout import grants, leases
from ioto_tools.cloud.storage.tables import grants as grant_rows
from ioto_tools.cloud.storage.tables import leases as lease_rows
from ioto_tools.cloud.storage.tables import releases as release_rows

BOTH = True
START = 1_800_000_000
WORKERS = ("A", "B", "C")


class World:
    """A site with a release, devices that ask for it through some worker, and a clock. Every offer is kept."""

    def __init__(self, make_site, folder, **said):
        self.now_s = START
        self.site = make_site(folder / "site", clock=lambda: self.now_s)
        new_product(self.site, "thermo", "P7")
        (folder / "image.bin").write_bytes(esp_image(b"new"))
        self.update = publish(
            self.site, folder / "image.bin", "thermo", "2.0.0", said={name: str(value) for name, value in said.items()}
        )[0]["id"]
        self.count = 0
        self.got = []  # when each device got it

    def ask(self, worker, device=None):
        """A new device (or this one) asks: did it get the release?"""
        if device is None:
            self.count += 1
            device = "D%d" % self.count
            registration.register_by_hand(self.site, "P7", device)
        device = self.site.database.read(overview.known, device)["key"]
        known = self.site.database.read(grants.of, device)
        arguments = device, self.update, "1.0.0", worker, int(self.now_s), self.site.moment_s, known
        try:
            held = self.site.database.write(grants.offer, *arguments)
        except leases.Full as e:
            self.full = e
            return False
        except leases.Stale:
            return False
        assert held[self.update].state == "offered"
        self.got.append(self.now_s)
        return True

    def rows(self, table, column):
        return self.site.database.read(lambda conn: conn.execute(sa.select(column).select_from(table)).scalars().all())

    def check(self, limit=None, rate=None, period_s=1):
        """What the database says agrees with what devices were told, and nothing is too much."""
        [taken], places = self.rows(release_rows, release_rows.c.taken), self.rows(lease_rows, lease_rows.c.places)
        granted = self.rows(grant_rows, grant_rows.c.granted_s)
        assert all(n >= 0 for n in places) and taken - sum(places) == len(granted) == len(self.got)
        assert self.site.database.read(leases.granted) == {self.update: len(granted)}
        assert limit is None or taken <= limit
        for ends in self.got if rate else ():
            assert sum(ends - period_s < each <= ends for each in self.got) <= rate, ends


@pytest.fixture
def world(make_site, tmp_path):
    made = []

    def make(**said):
        made.append(World(make_site, tmp_path, **said))
        return made[-1]

    yield make
    for each in made:
        each.site.close()


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.sweep) for n in range(1, 20))])
def test_random_workers_that_die_and_operators_who_change_their_mind(world, seed):
    draw = random.Random(seed)
    limit, rate, period_s = 40, 9, 30
    told = world(limit=limit, rate=rate, period="30 secs")
    for _ in range(150):
        step = draw.random()
        if step < 0.75:
            told.ask(draw.choice(WORKERS))  # one that died comes back by another name as well
        elif step < 0.95:
            told.now_s += draw.choice((0.2, 0.5, 1, 3, 11))
        else:
            action = draw.choice(("paused", "percentage", "limit"))
            if action == "paused":
                control.move(told.site, told.update, "paused")
                assert not told.ask(draw.choice(WORKERS))
                control.move(told.site, told.update, "resumed")
            else:
                control.set_terms(told.site, told.update, {action: str(draw.choice((20, 40)))})
                control.set_terms(told.site, told.update, {"limit": "40"})
        told.check(limit, rate, period_s)
    while len(told.got) < limit:  # whoever holds a block dies: what it has not spent comes back
        told.now_s += leases.LEASE_S + 1
        before = len(told.got)
        for _ in range(rate + 1):
            told.ask("Z")
        told.check(limit, rate, period_s)
        assert len(told.got) - before <= rate
    assert not told.ask("A") and told.full.why == "limit" and told.full.until_s is None


def test_a_block_is_taken_once_and_spent_place_by_place(world):
    told = world()
    for n in range(leases.BLOCK + 1):
        assert told.ask("A")
        [places] = told.rows(lease_rows, lease_rows.c.places)
        assert places == (leases.BLOCK - 1 - n) % leases.BLOCK
    told.check()


def test_the_last_places_go_to_whoever_asks(world):
    """A limit of a few: nobody takes so many that the others go without."""
    told = world(limit=16)
    got = Counter(worker for _ in range(3) for worker in WORKERS if told.ask(worker))
    assert got == dict.fromkeys(WORKERS, 3)
    told.check(16)


def test_an_idle_worker_s_places_are_given_back_after_a_while_and_no_earlier(world):
    told = world(limit=leases.PART * 4)
    assert told.ask("A")  # and has three more
    while told.ask("B"):
        pass
    assert told.full.why == "limit" and told.full.until_s == START + 1 and len(told.got) < leases.PART * 4
    told.now_s += leases.LEASE_S
    assert not told.ask("B")
    told.now_s += 1
    while told.ask("B"):
        pass
    assert len(told.got) == leases.PART * 4 and told.full.until_s is None
    told.check(leases.PART * 4)


def test_places_taken_by_a_clock_that_was_wrong_come_back(world):
    told = world(limit=leases.PART * 4)
    told.now_s += 400 * 86400
    assert told.ask("A")  # and has three more
    told.now_s -= 400 * 86400
    while told.ask("B"):
        pass
    assert len(told.got) == leases.PART * 4 and told.full.until_s is None
    told.check(leases.PART * 4)


def test_a_rate_goes_on_after_the_clock_was_ahead(world):
    """Two days ahead and back: what was granted there counts as granted now, once, and a period later the next ones
    are.
    """
    told = world(rate=2, period="1 hour")
    told.now_s += 48 * 3600
    assert told.ask("A") and told.ask("A") and not told.ask("A")
    told.now_s -= 48 * 3600
    assert not told.ask("A") and told.full.ahead and told.full.until_s == START + 1
    told.site.database.write(leases.set_back, told.update, told.now_s)
    assert not told.ask("A") and not told.full.ahead and told.full.until_s == START + 3600
    told.now_s += 3599
    assert not told.ask("B")
    told.now_s += 1
    assert told.ask("B") and told.ask("A") and not told.ask("A")


def test_rates_for_every_size_and_moment(world):
    """As many as ask, at moments between the seconds: never more than `rate` in any period, and soon again as many as
    allowed.
    """
    for number, (rate, period_s) in enumerate(((1, 1), (1, 5), (3, 2), (10, 7))):
        if not number:
            told = world(rate=rate, period="%d secs" % period_s)
        else:
            control.set_terms(told.site, told.update, {"rate": str(rate), "period": "%d secs" % period_s})
            told.now_s += 60
        begins = len(told.got)
        mine = []
        for _ in range(40):
            told.now_s += 0.35
            if told.ask("A"):
                mine.append(told.now_s)
        for ends in mine:
            assert sum(ends - period_s < each <= ends for each in mine) <= rate, (rate, period_s, mine)
        spent_s = 40 * 0.35
        assert len(mine) >= rate * (spent_s // (period_s + 1)), (rate, period_s)
        assert len(told.got) == begins + len(mine)
    told.check()


def test_a_full_rate_says_when_to_ask_again(world):
    told = world(rate=2, period="100 secs")
    assert told.ask("A")
    told.now_s += 30
    assert told.ask("A")
    told.now_s += 30
    assert not told.ask("A") and told.full.why == "rate" and told.full.until_s == START + 100
    told.now_s = START + 99
    assert not told.ask("A")
    told.now_s = START + 100
    assert told.ask("A") and not told.ask("A") and told.full.until_s == START + 130


def test_every_change_by_an_operator_ends_the_leases(world):
    told = world(limit=1000)
    changes = (
        lambda: control.move(told.site, told.update, "paused"), lambda: control.move(told.site, told.update, "resumed"),
        lambda: control.enable(told.site, told.update, False), lambda: control.enable(told.site, told.update, True),
        lambda: control.set_terms(told.site, told.update, {"policy": "false"}), lambda: control.move(told.site,
        told.update, "cancelled"),
    )  # fmt: skip
    for change in changes:
        got = told.ask("A")
        assert got == bool(told.rows(lease_rows, lease_rows.c.places))
        change()
        assert told.rows(lease_rows, lease_rows.c.places) == []
        told.check(1000)
    assert not told.ask("A")


def test_a_device_takes_one_place_however_often_and_wherever_it_asks(world):
    told = world(limit=3)
    assert told.ask("A")
    told.got.clear()
    for worker in WORKERS * 3:
        assert told.ask(worker, "D1")
    told.got[:] = told.got[:1]
    told.check(3)
    assert told.ask("B") and told.ask("C") and not told.ask("A")
