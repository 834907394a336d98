"""Which old data is deleted, and when, to the second."""

import asyncio

import pytest
from ioto_tools.cloud.http.errors import Missing
from ioto_tools.cloud.operators import control, operator_tokens, overview, webhooks
from ioto_tools.cloud.site import housekeeping
from ioto_tools.cloud.storage import audit

DAY = 86400


def run_housekeeping(cloud):
    """Run housekeeping until nothing is left to delete; return the number of transactions."""
    n = 0
    while cloud.site.database.write(housekeeping.delete_old_data, cloud.now_s):
        n += 1
    return n


@pytest.mark.sweep
def test_reports_and_audit_rows_are_deleted_at_their_age_limit(cloud):
    update = cloud.publish("2.0.0")["id"]
    token = cloud.device()
    cloud.check_in("D1", token, "1.0.0")
    began = cloud.now_s
    for attempt in range(1, 60):  # a report and an audit row every ten days
        cloud.report("D1", token, update, state="staged", attempt=attempt)
        operator_tokens.new(cloud.site, "t%d" % attempt, "read")
        cloud.now_s += 10 * DAY
        assert run_housekeeping(cloud) <= 2
        reports = [each["received_s"] for each in overview.device(cloud.site, "D1")["reports"]]
        wanted = [began + n * 10 * DAY for n in range(attempt) if began + n * 10 * DAY >= cloud.now_s - 400 * DAY]
        assert sorted(reports) == wanted, attempt
    cloud.now_s = began + housekeeping.AUDIT_S
    run_housekeeping(cloud)
    assert min(row["at_s"] for row in cloud.site.database.read(audit.newest, 1000)) == began
    cloud.now_s += 1
    run_housekeeping(cloud)
    assert min(row["at_s"] for row in cloud.site.database.read(audit.newest, 1000)) > began
    assert len(operator_tokens.listed(cloud.site)) == 59 and overview.devices(cloud.site)  # tokens and devices are kept


def test_audit_rows_that_a_webhook_waits_for_are_kept(cloud):
    webhooks.new(cloud.site, "https://hooks.test/")
    operator_tokens.new(cloud.site, "ci", "read")
    cloud.now_s += housekeeping.AUDIT_S + 1
    run_housekeeping(cloud)
    assert [row["action"] for row in cloud.site.database.read(audit.newest)] == ["token.new"]


def test_each_transaction_deletes_one_hour_of_rows(cloud):
    for number in range(10):
        operator_tokens.new(cloud.site, "t%d" % number, "read")
        cloud.now_s += 3600
    cloud.now_s += housekeeping.AUDIT_S
    assert run_housekeeping(cloud) == 10 and cloud.site.database.read(audit.newest) == []


def test_a_worker_runs_it_and_continues_after_a_database_outage(cloud, monkeypatch):
    operator_tokens.new(cloud.site, "ci", "read")
    cloud.now_s += housekeeping.AUDIT_S + 1
    failures = [OSError("disk"), None, None, None]

    async def database(function, *arguments):
        if failure := failures.pop(0):
            raise failure
        return function(*arguments)

    monkeypatch.setattr(housekeeping, "EVERY_S", 0)

    async def live():
        task = asyncio.create_task(housekeeping.run(cloud.site, database))
        while failures and not task.done():
            await asyncio.sleep(0)
        task.cancel()

    asyncio.run(asyncio.wait_for(live(), 20))
    assert cloud.site.database.read(audit.newest) == []
    with pytest.raises(IndexError):
        asyncio.run(housekeeping.run(cloud.site, database))


def test_the_data_of_a_removed_device_is_deleted(cloud):
    """Properties and reports are deleted at once; the whole device is deleted later, unless releases count it."""
    update = cloud.publish("2.0.0")["id"]
    token = cloud.device("OFFERED", filler="x" * 8000)
    cloud.check_in("OFFERED", token, "1.0.0")
    cloud.report("OFFERED", token, update, state="confirmed")
    for n in range(3):
        cloud.device("FAKE%d" % n, filler="x" * 8000)
    removed = "OFFERED", "FAKE0", "FAKE1"
    for id in removed:
        control.remove(cloud.site, id)
        found = overview.device(cloud.site, id)
        assert found["properties"] == {} and found["reports"] == []
    assert overview.update(cloud.site, update)["states"] == {"confirmed": 1}
    cloud.now_s += housekeeping.REMOVED_S
    assert run_housekeeping(cloud) == 0
    cloud.now_s += 1
    assert run_housekeeping(cloud) == 1
    assert overview.device(cloud.site, "OFFERED")["removed"] and overview.device(cloud.site, "FAKE2")["properties"]
    for id in removed[1:]:
        with pytest.raises(Missing):
            overview.device(cloud.site, id)
    assert overview.update(cloud.site, update)["states"] == {"confirmed": 1}
