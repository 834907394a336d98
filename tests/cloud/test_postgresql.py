"""Failures of a database server: wrong URL, outage, restart, frozen server, lost connections; a query's plan."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from ioto_tools.cloud.http.errors import CloudError, Unavailable
from ioto_tools.cloud.lists import device_filter
from ioto_tools.cloud.site.site import Site
from ioto_tools.cloud.storage import group_commit
from ioto_tools.cloud.storage.postgresql import CONNECTIONS, LOCK, Postgresql
from ioto_tools.cloud.storage.tables import devices


def one(conn):
    return conn.exec_driver_sql("SELECT 1").scalar()


@pytest.fixture
def opened(postgresql):
    made = []

    def open(url):
        made.append(Postgresql(url))
        return made[-1]

    yield open
    for each in made:
        each.close()


def test_errors_of_a_wrong_url_do_not_contain_the_password(opened, postgresql):
    url = postgresql.database()
    for bad, error, word in (
        ("postgresql://u:hidden@127.0.0.1:1/ioto", Unavailable, "127.0.0.1:1"),
        ("postgresql://u:hidden@no-such-host.invalid/ioto", Unavailable, "no-such-host"),
        ("postgresql://u:hidden@127.0.0.1:1/ioto?sslmode=perhaps", CloudError, "sslmode"),
        (url.replace("postgres:@", "nobody:hidden@"), Unavailable, "nobody"),
        (url.replace("/test", "/nothing"), Unavailable, "nothing"),
    ):
        with pytest.raises(error, match=word) as raised:
            opened(bad).read(one)
        assert "hidden" not in str(raised.value), bad
    assert opened(url.replace("postgresql://", "postgres://")).read(one) == 1


def test_transactions_work_again_after_a_server_outage(opened, postgresql):
    url = postgresql.database()
    database = opened(url)
    assert database.write(one) == 1
    for _ in range(3):
        postgresql.shut(url)
        with pytest.raises(Unavailable):
            database.write(one)
        postgresql.open(url)
        assert database.write(one) == database.read(one) == 1


@pytest.mark.parametrize("noticed", (True, False))
def test_connections_from_before_a_server_restart_are_replaced_without_an_error(
    opened, postgresql, monkeypatch, noticed
):
    """Not `noticed`: as if a firewall had dropped the idle connections, so that they still seem to be open."""
    from ioto_tools.cloud.storage import postgresql as module

    monkeypatch.setattr(module, "IDLE_S", 60 if noticed else 0)
    if not noticed:
        monkeypatch.setattr(module.asyncpg.Connection, "is_closed", lambda connection: False)
    url = postgresql.database()
    database = opened(url)
    with ThreadPoolExecutor(CONNECTIONS) as pool:  # uses all connections at once
        list(pool.map(database.read, [lambda conn: conn.exec_driver_sql("SELECT pg_sleep(0.3)")] * CONNECTIONS))
    postgresql.shut(url)
    postgresql.open(url)
    assert [database.write(one) for _ in range(2 * CONNECTIONS)] == [1] * 2 * CONNECTIONS


def test_a_lost_connection_is_unavailable_for_all_functions_of_the_transaction(opened, postgresql):
    """Each of the functions raises Unavailable, because a retry may succeed."""
    database = opened(postgresql.database())

    def cut(conn):
        conn.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")

    jobs = [group_commit.Job(function) for function in (one, cut, one)]
    group_commit.commit(database.write, jobs)
    assert [type(job.done.exception()) for job in jobs] == [Unavailable] * 3
    assert database.write(one) == 1


def test_waiting_for_a_frozen_server_is_limited(opened, postgresql, monkeypatch):
    """Transactions that start soon after a timeout fail at once; when the server runs again, they succeed."""
    from ioto_tools.cloud.storage import postgresql as module

    monkeypatch.setattr(module, "ANSWER_S", 0.5)
    monkeypatch.setattr(module, "QUIET_S", 60)
    database = opened(postgresql.database())
    database.limit_time()
    assert database.write(one) == 1
    with postgresql.frozen():
        for function in (database.write, database.read, database.write):
            with pytest.raises(Unavailable, match="TimeoutError|timed out less than 60 s ago"):
                function(one)
    with pytest.raises(Unavailable, match="timed out less than 60 s ago"):
        database.read(one)
    database._quiet_until = 0
    assert database.write(one) == database.read(one) == 1


def test_more_transactions_than_connections_wait_for_their_turn(opened, postgresql):
    database = opened(postgresql.database())
    results = []

    def slowly(conn):
        conn.exec_driver_sql("SELECT pg_sleep(0.02)")
        results.append(one(conn))

    threads = [threading.Thread(target=database.read, args=(slowly,)) for _ in range(4 * CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == [1] * 4 * CONNECTIONS


def test_a_writer_that_vanishes_does_not_block_the_others(opened, postgresql, monkeypatch):
    """A host that loses power does not close its connection, so the server ends the host's transaction."""
    from ioto_tools.cloud.storage import postgresql as module

    monkeypatch.setitem(module._SESSION, "idle_in_transaction_session_timeout", "500ms")
    url = postgresql.database()
    frozen, other = opened(url), opened(url)
    entered, thaw = threading.Event(), threading.Event()

    def freeze(conn):
        entered.set()
        thaw.wait(60)
        return one(conn)

    errors = []

    def write():
        try:
            frozen.write(freeze)
        except Unavailable as e:
            errors.append(e)

    thread = threading.Thread(target=write)
    thread.start()
    assert entered.wait(60)
    assert other.write(one) == 1  # waits for half a second
    thaw.set()
    thread.join(60)
    assert len(errors) == 1 and frozen.write(one) == 1


def test_waiting_too_long_for_the_writer_lock_is_unavailable(opened, postgresql, monkeypatch):
    from ioto_tools.cloud.storage import postgresql as module

    monkeypatch.setitem(module._SESSION, "lock_timeout", "200ms")
    url = postgresql.database()
    first, other = opened(url), opened(url)

    def other_writes(conn):
        with pytest.raises(Unavailable, match="lock"):
            other.write(one)
        return conn.exec_driver_sql(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %d" % LOCK
        ).scalar()

    assert first.write(other_writes) == 1
    assert other.write(one) == 1


def test_a_transaction_inside_another_is_an_error_not_a_deadlock(opened, postgresql):
    database = opened(postgresql.database())
    started = time.monotonic()
    with pytest.raises(AssertionError, match="inside"):
        database.write(lambda conn: database.read(one))
    assert time.monotonic() - started < 30


@pytest.mark.sweep
def test_the_last_update_of_a_device_is_looked_up_by_an_index(postgresql, tmp_path):
    """The key of a device and the tables that refer to it have different collations, which an index does not bridge."""
    (tmp_path / "site.toml").write_text('database = "%s"\n' % postgresql.database())
    site = Site(tmp_path, make=True)
    query = sa.select(devices.c.key).where(*device_filter.parse(site, {"reason": "selftest_failed"}).conditions)

    def plan(conn):
        conn.exec_driver_sql("SET LOCAL enable_seqscan = off")
        text = str(query.compile(conn, compile_kwargs={"literal_binds": True}))
        return list(conn.exec_driver_sql("EXPLAIN " + text).scalars())

    found = site.database.write(plan)
    site.close()
    assert any("Index Cond: ((device)::text = (devices.key)::text" in line for line in found), found
