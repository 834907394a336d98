"""Transactions on both databases: isolation, atomicity, durability; and deferred writes."""

import asyncio
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from ioto_tools.cloud.http.errors import CloudError, Unavailable
from ioto_tools.cloud.site.site import Site
from ioto_tools.cloud.storage import deferred_writes, group_commit, queries
from ioto_tools.cloud.storage.tables import products

BOTH = True
CALLERS = 24


def names(conn):
    return {name for (name,) in conn.execute(sa.select(products.c.name))}


def add(conn, name):
    return queries.add_product(conn, name, name, 1)["name"]


def rename(conn, rows):
    conn.execute(products.update().where(products.c.id == sa.bindparam("key")).values(name=sa.bindparam("new")), rows)


@pytest.fixture(params=(True, False), ids=("threads", "caller"))
def site(request, make_site, tmp_path):
    made = make_site(tmp_path / "site", threads=request.param)
    yield made
    made.close()


class Gate:
    """A write that blocks the writer until open(); the writes requested meanwhile share one transaction."""

    def __init__(self, site):
        self.opened, self.entered = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=site.database.write, args=(self.hold,), daemon=True)
        self.thread.start()
        self.entered.wait(30)

    def hold(self, conn):
        self.entered.set()
        self.opened.wait(30)

    def open(self):
        self.opened.set()
        self.thread.join(30)


@pytest.fixture
def together(make_site, tmp_path):
    """together(functions) runs all of them in one transaction and returns the result or exception of each.

    The site is `together.site`.
    """
    site = make_site(tmp_path / "site", threads=True)

    def run(functions):
        gate = Gate(site)
        with ThreadPoolExecutor(len(functions)) as pool:
            futures = [pool.submit(site.database.write, function) for function in functions]
            queued = site.database._writer._queue
            while queued.qsize() < len(functions):
                time.sleep(0.001)
            gate.open()
            return [future.exception(30) or future.result() for future in futures]

    run.site = site
    yield run
    site.close()


def test_changes_are_visible_when_a_function_returns_and_rolled_back_when_it_raises(site):
    def add_and_fail(conn):
        add(conn, "half")
        raise CloudError("no")

    assert site.database.write(add, "a") == "a"
    with pytest.raises(CloudError, match="no"):
        site.database.write(add_and_fail)
    with pytest.raises(sa.exc.IntegrityError):
        site.database.write(add, "a")
    assert site.database.read(names) == {"a"}
    assert site.database.write(add, "b") == "b"


def test_an_error_does_not_contain_the_written_values(site):
    site.database.write(queries.add_product, "hidden", "hidden", 1)
    with pytest.raises(sa.exc.IntegrityError) as raised:
        site.database.write(queries.add_product, "hidden", "secret-of-a-row", 1)
    assert "secret-of-a-row" not in str(raised.value)


def test_write_transactions_never_overlap(site):
    """Each transaction reads, waits, then writes: if two overlapped, both would take the same number."""

    def next_number(conn):
        number = len(names(conn))
        time.sleep(0.001)
        return add(conn, "%d" % number)

    with ThreadPoolExecutor(CALLERS) as pool:
        given = list(pool.map(lambda _: site.database.write(next_number), range(2 * CALLERS)))
    assert sorted(given, key=int) == ["%d" % number for number in range(2 * CALLERS)]


def test_functions_of_one_transaction_have_their_own_savepoints(together):
    """The functions see each other's changes; if one raises an exception, only its own changes are rolled back."""
    seen = []

    def write(number):
        def function(conn):
            seen.append(len(names(conn)))
            add(conn, "%d" % number)
            if number % 3 == 0:
                raise CloudError("%d" % number)
            if number % 3 == 1:
                add(conn, "%d" % number)  # added twice: the database refuses this
            return number

        return function

    ended = together([write(number) for number in range(CALLERS)])
    kept = [number for number in range(CALLERS) if number % 3 == 2]
    for number, end in enumerate(ended):
        assert end == number if number % 3 == 2 else isinstance(end, (CloudError, sa.exc.IntegrityError)[number % 3]), (
            end
        )
    assert together.site.database.read(names) == {"%d" % number for number in kept}
    assert max(seen) >= len(kept) - 1


def test_an_item_that_cannot_be_stored_does_not_affect_the_others_of_its_batch(make_site, tmp_path):
    """The items that wait for the writer are passed in one call; after a failure, each is passed alone."""
    site, calls = make_site(tmp_path / "site", threads=True), []

    def add_all(conn, items):
        calls.append(len(items))
        return [CloudError("refused") if item == "refused" else add(conn, item) for item in items]

    async def send(items):
        gate = Gate(site)
        waiting = [asyncio.create_task(site.database.write_batched(add_all, item)) for item in items]
        await asyncio.sleep(0)
        gate.open()
        return await asyncio.gather(*waiting, return_exceptions=True)

    assert asyncio.run(send(["a", "b", "c"])) == ["a", "b", "c"]
    d, again, refused, e = asyncio.run(send(["d", "a", "refused", "e"]))
    assert (d, e) == ("d", "e") and isinstance(again, sa.exc.IntegrityError) and isinstance(refused, CloudError)
    assert calls == [3, 4, 1, 1, 1, 1] and site.database.read(names) == set("abcde")
    site.close()


def test_reads_that_wait_at_the_same_time_share_one_call(make_site, tmp_path):
    site, calls = make_site(tmp_path / "site", threads=True), []
    site.database.write(add, "a")

    def find_all(conn, items):
        calls.append(len(items))
        if "fault" in items:
            raise ValueError("fault")
        return [CloudError("refused") if item == "refused" else item in names(conn) for item in items]

    async def ask(*items):
        return await asyncio.gather(*(site.database.read_batched(find_all, i) for i in items), return_exceptions=True)

    async def ask_together(*items):
        entered, opened = threading.Event(), threading.Event()
        site.database._reader._submit(group_commit.Job(lambda conn: (entered.set(), opened.wait(30))))
        assert entered.wait(30)
        asyncio.get_running_loop().call_later(0, opened.set)
        return await ask(*items)

    yes, no, refused = asyncio.run(ask_together("a", "b", "refused"))
    assert (yes, no) == (True, False) and isinstance(refused, CloudError) and calls == [3]
    yes, fault = asyncio.run(ask_together("a", "fault"))
    assert yes is True and isinstance(fault, ValueError) and calls == [3, 2, 1, 1]
    site.close()
    assert isinstance(asyncio.run(ask("a"))[0], Unavailable)


def test_a_caller_that_stops_waiting_does_not_stop_the_writer(make_site, tmp_path):
    site = make_site(tmp_path / "site", threads=True)

    async def stop_waiting():
        gate = Gate(site)
        waiting = asyncio.create_task(site.database.write_batched(lambda conn, items: [add(conn, items[0])], "a"))
        await asyncio.sleep(0)
        waiting.cancel()
        gate.open()

    asyncio.run(stop_waiting())
    assert site.database.write(add, "b") == "b" and site.database.read(names) == {"a", "b"}
    site.close()


def test_all_functions_fail_when_their_transaction_is_lost(together):
    def lose(conn):
        add(conn, "lost")
        conn.exec_driver_sql("ROLLBACK")
        raise CloudError("never seen")

    functions = [lambda conn, n=n: add(conn, "%d" % n) for n in range(CALLERS)]
    ended = together(functions[:10] + [lose] + functions[10:])
    assert all(isinstance(end, Exception) and not isinstance(end, CloudError) for end in ended), ended
    assert together.site.database.read(names) == set()
    assert together.site.database.write(add, "next") == "next"


def test_a_read_uses_one_snapshot(site, make_site):
    other = make_site(site.data)

    def look(conn):
        before = names(conn)
        other.database.write(add, "b")
        return before, names(conn)

    site.database.write(add, "a")
    assert site.database.read(look) == ({"a"}, {"a"})
    assert site.database.read(names) == {"a", "b"}
    other.close()


def test_a_read_transaction_cannot_write(site):
    with pytest.raises((Unavailable, sa.exc.DBAPIError), match="read-?only"):
        site.database.read(add, "a")
    assert site.database.write(names) == set()


def test_close_writes_the_last_deferred_row_of_each_key(site, make_site):
    for name in "abc":
        site.database.write(add, name)
    for number in range(50):
        for key in "ab":
            site.database.write_later(rename, key, {"key": key, "new": "%s%d" % (key, number)})
    site.close()
    again = make_site(site.data)
    assert again.database.read(names) == {"a49", "b49", "c"}
    again.close()


def test_deferred_rows_are_written_without_another_call(site):
    site.database.write(add, "a")
    site.database.write_later(rename, "a", {"key": "a", "new": "b"})
    give_up = time.monotonic() + 30
    while site.database.read(names) != {"b"}:
        assert time.monotonic() < give_up
        time.sleep(0.02)


def test_a_failed_deferred_write_is_logged_and_does_not_affect_others(make_site, tmp_path, caplog):
    def broken(conn, rows):
        raise KeyError("cannot be written")

    site = make_site(tmp_path / "site", threads=True)
    site.database.write(add, "a")
    site.database.write_later(broken, "a", {})
    site.database.write_later(rename, "a", {"key": "a", "new": "b"})
    site.close()
    assert "broken" in caplog.text and "cannot be written" in caplog.text
    again = make_site(tmp_path / "site")
    assert again.database.read(names) == {"b"}
    again.close()


def test_a_limited_number_of_deferred_rows_waits_for_an_unavailable_database():
    waiting = deferred_writes.DeferredWrites()
    old, newer = {"name": "old"}, {"name": "newer"}
    for number in range(deferred_writes.ROWS):
        waiting.add(rename, number, old)
    with pytest.raises(Unavailable, match="%d" % deferred_writes.ROWS):
        waiting.add(rename, -1, newer)
    waiting.add(rename, 0, newer)
    taken = waiting.take()
    assert len(waiting) == 0 and len(taken[rename]) == deferred_writes.ROWS and taken[rename][0] == newer
    waiting.add(rename, 1, newer)
    waiting.put_back(rename, taken[rename], Unavailable("away"))
    assert len(waiting) == deferred_writes.ROWS and waiting.take()[rename][1] == newer


def test_the_memory_of_deferred_rows_is_limited(monkeypatch):
    monkeypatch.setattr(deferred_writes, "CHARACTERS", 100)
    waiting = deferred_writes.DeferredWrites()
    waiting.add(rename, 1, {"name": "x" * 60})
    waiting.add(rename, 1, {"name": "y" * 90})  # replaces the previous row
    with pytest.raises(Unavailable, match="90 characters"):
        waiting.add(rename, 2, {"name": "z" * 11})
    waiting.add(rename, 2, {"name": "z" * 10})
    taken = waiting.take()
    waiting.add(rename, 3, {"name": "w" * 100})
    waiting.put_back(rename, taken[rename], Unavailable("away"))  # no accepted row is lost
    assert len(waiting) == 3
    with pytest.raises(Unavailable):
        waiting.add(rename, 4, {"name": "w"})


def test_writing_to_a_closed_site_is_unavailable(make_site, tmp_path):
    site = make_site(tmp_path / "site", threads=True)
    site.close()
    with pytest.raises(Unavailable, match="closed"):
        site.database.write(add, "a")
    site.close()


def test_a_second_site_in_a_process_leaves_the_first_its_locks(tmp_path):
    """Otherwise the last connection of any other process deletes the write-ahead log in which this one goes on."""
    site = Site(tmp_path / "site", make=True)
    site.database.write(queries.product_by_id, "P1")
    Site(tmp_path / "site").close()
    other = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('select 1 from products'); c.close()"
    subprocess.run([sys.executable, "-c", other, tmp_path / "site" / "cloud.db"], check=True)
    assert (tmp_path / "site" / "cloud.db-wal").exists()
    site.close()
