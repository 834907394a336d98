"""A PostgreSQL outage under a running server: devices are asked to retry, keep their tokens and continue."""

import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from device_load import Storm
from ioto_tools.cloud.site.site import Site
from processes import until
from rollout_check import Rollouts, check

DEVICES = 100
MINUTE_S = 60
SOME = 200  # check-ins before and after the outage


def stopped(postgresql, seconds):
    postgresql.stop()
    time.sleep(seconds)
    postgresql.start()


def killed(postgresql, seconds):
    postgresql.kill()
    time.sleep(seconds)
    postgresql.start()


def frozen(postgresql, seconds):
    with postgresql.frozen():
        time.sleep(seconds)


@pytest.mark.sweep
@pytest.mark.parametrize(
    "ways, seconds",
    [((stopped, killed), 1), *(pytest.param([way], MINUTE_S, marks=pytest.mark.sweep) for way in (stopped, frozen))],
)
def test_devices_continue_after_a_database_outage(postgresql, serve, tmp_path, ways, seconds):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "site.toml").write_text('database = "%s"' % postgresql.database())
    site = Site(tmp_path / "site", make=True)
    rollouts = Rollouts(site, tmp_path, DEVICES, limit=DEVICES // 4, rate=2, percentage=40)
    process, address = serve("--data", "site", "--requests-per-minute", "0")
    storm = Storm(urlsplit(address).netloc, rollouts.tokens, "1.0.0", again_s=0.3)

    def interrupt():
        try:
            for outage in ways:
                before, served = storm.statuses[503], storm.answered
                outage(postgresql, seconds)
                until(lambda: storm.answered > served + SOME, "devices do not continue")
                assert storm.statuses[503] > before
        finally:
            storm.count = 0

    outages = []
    with ThreadPoolExecutor(1) as other:
        storm.run(1 << 60, SOME, lambda: outages or outages.append(other.submit(interrupt)))
        outages[0].result()
    assert storm.lower_offers == [] and process.poll() is None
    check(site, rollouts, storm)
    site.close()
