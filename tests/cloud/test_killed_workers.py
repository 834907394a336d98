"""Eight processes serve a site while workers are killed (kill -9) at any moment, on both databases.

No device gets a slot twice, no quota is exceeded, and no answer to a device and no report is lost.
"""

import random
from urllib.parse import urlsplit

import psutil
import pytest
from device_load import Storm
from ioto_tools.cloud.site.site import Site
from processes import workers
from rollout_check import Rollouts, check, check_in_all, open_offers

COUNT = 8


@pytest.fixture(params=("sqlite", "postgresql"))
def database(request):
    """The content of a site.toml."""
    return "" if request.param == "sqlite" else 'database = "%s"' % request.getfixturevalue("postgresql").database()


class Killer:
    """Kills one worker at each call, and all of them at every tenth call."""

    def __init__(self, process, seed=0):
        self.process, self.draw = process, random.Random(seed)
        self.calls = self.killed = 0

    def __call__(self):
        self.calls += 1
        living = sorted(workers(self.process))
        for pid in living if self.calls % 10 == 0 else living and [self.draw.choice(living)]:
            psutil.Process(pid).kill()
            self.killed += 1


@pytest.mark.parametrize(
    "checkins, devices, kills", [(600, 80, 2), pytest.param(25_000, 2000, 30, marks=pytest.mark.sweep)]
)
def test_eight_workers_of_which_some_are_killed(database, serve, tmp_path, checkins, devices, kills):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "site.toml").write_text(database)
    site = Site(tmp_path / "site", make=True)
    rollouts = Rollouts(site, tmp_path, devices, limit=devices // 4, rate=devices // 80, percentage=40)
    process, address = serve("--data", "site", "--workers", str(COUNT), "--requests-per-minute", "0")
    storm, killer = Storm(urlsplit(address).netloc, rollouts.tokens, "1.0.0"), Killer(process)
    assert len(workers(process)) == COUNT
    storm.run(checkins, checkins // (kills + 1), killer)
    assert killer.killed >= kills and storm.answered >= checkins and storm.lower_offers == []
    check(site, rollouts, storm)
    answers = check_in_all(site.data, storm)
    assert check(site, rollouts, storm) == rollouts.limit
    found = open_offers(site, storm)
    assert len(found) > devices / 10 and found == {device: answers[device] for device in found}
    site.close()
