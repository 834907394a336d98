"""Reports stored in a batch have the same effect as one by one; two workers apply the stop rule consistently."""

import asyncio
import json
import random
import threading

import pytest
import sqlalchemy as sa
from cloud_under_test import Cloud
from device_actions import ask
from ioto_tools.cloud.devices import messages, reports
from ioto_tools.cloud.devices.tokens import ROTATED, ReplacedTokenUsed, issue
from ioto_tools.cloud.releases.publish import new_product
from ioto_tools.cloud.storage import audit
from ioto_tools.cloud.storage.tables import devices, grants, releases, tokens
from ioto_tools.cloud.storage.tables import reports as report_rows

BOTH = True
DEVICES = 8
TABLES = devices, grants, report_rows, releases, tokens


def rows(conn):
    found = {table.name: [dict(row) for row in conn.execute(sa.select(table)).mappings()] for table in TABLES}
    for row in found["releases"]:
        row["counts"] = sorted((kind, sorted(each.items())) for kind, each in json.loads(row["counts"]).items())
    stopped = [row["detail"]["ended"] for row in audit.newest(conn) if row["action"] == "release.stopped"]
    return {name: sorted(map(str, each)) for name, each in found.items()} | {"stopped": stopped}


def make_fleet(folder, kind):
    """A cloud with two releases, and devices that were offered one of them or none: (cloud, tokens, updates)."""
    cloud = Cloud(folder, kind)
    new_product(cloud.site, "other")
    other = cloud.publish("2.0.0", product="other")["id"]
    old = cloud.publish("2.0.0")["id"]
    for n in range(0, DEVICES, 4):
        ask(cloud, "D%d" % n)
    new = cloud.publish("3.0.0", stop="50% after 3", limit=DEVICES)["id"]
    for n in range(DEVICES - 1):
        ask(cloud, "D%d" % n)
    cloud.tokens["D%d" % (DEVICES - 1)] = cloud.device("D%d" % (DEVICES - 1))
    return cloud, cloud.tokens, (new, new, new, old, other, "UNKNOWN")


def some_report(draw, tokens, updates, now_s):
    id = draw.choice(sorted(tokens))
    state = draw.choice(messages.STATES)
    reason = draw.choice(("", "withdrawn", "unsigned", "no_memory"))
    said = {"id": id, "update": draw.choice(updates), "success": True, "state": state, "reason": reason}
    said["attempt"] = draw.choice((0, 1, 1, 1, 2, 3))
    token = draw.choice([tokens[id]] * 15 + ["nobody"])
    return reports.Arrived(token, messages.report(said), now_s)


@pytest.mark.sweep
@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.sweep) for n in range(1, 12))])
def test_a_batch_has_the_same_effect_as_its_reports_one_by_one(kind, tmp_path, seed):
    found = []
    for number, most in enumerate((1, 25)):
        cloud, held, updates = make_fleet(tmp_path / str(number), kind)
        ids = {update: "update %d" % n for n, update in enumerate(updates)}
        draw, split = random.Random(seed), random.Random(seed)
        arrived = [some_report(draw, held, updates, cloud.now_s) for _ in range(100)]
        refusals = []
        while arrived:
            size = split.randint(1, most)
            refusals += cloud.site.database.write(reports._store, arrived[:size])
            arrived = arrived[size:]
        text = json.dumps([cloud.site.database.read(rows), [each and each.error for each in refusals]])
        for update, name in ids.items():
            text = text.replace(update, name)
        found.append(json.loads(text))
        assert any(refusals) and not all(refusals)
        cloud.close()
    assert found[0] == found[1]
    assert seed or found[0][0]["stopped"]


def test_a_token_that_another_one_of_the_batch_replaces_is_refused(kind, tmp_path):
    cloud, held, (update, *_) = make_fleet(tmp_path, kind)
    first, second = "first", "second"
    for token in (first, second):
        cloud.site.database.write(_rotate, token, cloud.now_s)
    message = messages.report({"id": "D1", "update": update, "success": True, "attempt": 1})
    arrived = [reports.Arrived(token, message, cloud.now_s) for token in (second, first)]
    refusals = cloud.site.database.write(reports._store, arrived)
    assert refusals[0] is None and isinstance(refusals[1], ReplacedTokenUsed)
    cloud.close()


def _rotate(conn, token, now_s):
    device = conn.execute(sa.select(devices.c.key).where(devices.c.id == "D1")).scalar_one()
    issue(conn, token, device, now_s, ROTATED, replaces=True)


def send_all(site, arrived, start):
    """Send the reports at once, as a worker whose devices report at the same time."""

    async def send():
        start.wait(30)
        await asyncio.gather(*(site.database.write_batched(reports._store, each) for each in arrived))

    asyncio.run(send())


@pytest.mark.sweep
@pytest.mark.parametrize("least", [7, *(pytest.param(n, marks=pytest.mark.sweep) for n in (1, 2, 20, 39))])
def test_two_workers_stop_a_release_at_the_same_failure(kind, make_site, tmp_path, least):
    """However two workers' reports interleave, the release stops exactly once, at the first that triggers the rule."""
    cloud = Cloud(tmp_path, kind)
    update = cloud.publish("2.0.0", stop="50%% after %d" % least)["id"]
    arrived = []
    for n in range(40):
        ask(cloud, "D%d" % n)
        fields = {"id": "D%d" % n, "update": update, "success": False, "attempt": 1}
        arrived.append(reports.Arrived(cloud.tokens["D%d" % n], messages.report(fields), cloud.now_s))
    sites = [make_site(tmp_path / "site", threads=True) for _ in range(2)]
    start = threading.Barrier(2)
    threads = [threading.Thread(target=send_all, args=(site, arrived[n::2], start)) for n, site in enumerate(sites)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for site in sites:
        site.close()
    [stopped] = [row for row in cloud.site.database.read(audit.newest) if row["action"] == "release.stopped"]
    assert stopped["detail"]["ended"] == {"failed": least}
    found = cloud.site.database.read(lambda conn: conn.execute(sa.select(releases.c.counts, releases.c.state)).one())
    assert (json.loads(found.counts), found.state) == ({"now": {"failed": 40}, "ended": {"failed": 40}}, "paused")
    cloud.close()
