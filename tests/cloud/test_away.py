"""PostgreSQL is away for a while under a real cloud: devices are told to come back, nobody forgets himself, and then all goes on by itself."""

import threading
import time
from urllib.parse import urlsplit

import pytest
from books import Rollouts, check
from ioto_tools.cloud.site import Site
from storm import Storm

DEVICES = 100
MINUTE_S = 60


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


@pytest.mark.parametrize("away, seconds", [
    (stopped, 1), (killed, 0), *(pytest.param(way, MINUTE_S, marks=pytest.mark.sweep) for way in (stopped, frozen)),
])  # fmt: skip
def test_a_database_that_is_away(postgresql, serve, tmp_path, away, seconds):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "site.toml").write_text('database = "%s"' % postgresql.database())
    site = Site(tmp_path / "site", make=True)
    told = Rollouts(site, tmp_path, DEVICES, limit=DEVICES // 4, rate=2, percentage=40)
    process, address = serve("--data", "site", "--workers", "2", "--rate", "0")
    storm = Storm(urlsplit(address).netloc, told.tokens, "1.0.0", again_s=0.3)

    def go():
        away(postgresql, seconds)
        storm.count = storm.answered + 300

    def begin():
        if storm.every == 300:
            storm.count = storm.every = 1 << 60
            gone.start()

    gone = threading.Thread(target=go)
    storm.run(1 << 60, 300, begin)
    gone.join()
    assert storm.statuses[503] and storm.statuses[200] > 600 and storm.back == [] and process.poll() is None
    check(site, told, storm)
    site.close()
