"""PostgreSQL is away for a while under a real cloud: devices are told to come back, nobody forgets himself, and then
all goes on by itself.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from books import Rollouts, check
from ioto_tools.cloud.site.site import Site
from processes import until
from storm import Storm

DEVICES = 100
MINUTE_S = 60
SOME = 200  # check-ins before it goes away, and after it is back


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


@pytest.mark.parametrize(
    "ways, seconds",
    [((stopped, killed), 1), *(pytest.param([way], MINUTE_S, marks=pytest.mark.sweep) for way in (stopped, frozen))],
)
def test_a_database_that_is_away(postgresql, serve, tmp_path, ways, seconds):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "site.toml").write_text('database = "%s"' % postgresql.database())
    site = Site(tmp_path / "site", make=True)
    told = Rollouts(site, tmp_path, DEVICES, limit=DEVICES // 4, rate=2, percentage=40)
    process, address = serve("--data", "site", "--rate", "0")
    storm = Storm(urlsplit(address).netloc, told.tokens, "1.0.0", again_s=0.3)

    def go():
        try:
            for away in ways:
                before, served = storm.statuses[503], storm.answered
                away(postgresql, seconds)
                until(lambda: storm.answered > served + SOME, "it does not go on")
                assert storm.statuses[503] > before
        finally:
            storm.count = 0

    gone = []
    with ThreadPoolExecutor(1) as other:
        storm.run(1 << 60, SOME, lambda: gone or gone.append(other.submit(go)))
        gone[0].result()
    assert storm.back == [] and process.poll() is None
    check(site, told, storm)
    site.close()
