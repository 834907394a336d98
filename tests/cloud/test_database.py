"""What a function of a connection may rely on, on both databases: alone, whole, on the disk when it returns, and soft
writes.
"""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from ioto_tools.cloud.http.errors import CloudError, Unavailable
from ioto_tools.cloud.storage import deferred_writes, queries
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
    """A write that holds the writer until open(): what is asked for meanwhile shares one transaction."""

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
    """together(functions) writes all of them in one transaction: [result or exception] of each; the site is
    `together.site`.
    """
    site = make_site(tmp_path / "site", threads=True)

    def run(functions):
        gate = Gate(site)
        with ThreadPoolExecutor(len(functions)) as pool:
            ended = [pool.submit(site.database.write, function) for function in functions]
            queued = site.database._writer._queue
            while queued.qsize() < len(functions):
                time.sleep(0.001)
            gate.open()
            return [future.exception(30) or future.result() for future in ended]

    run.site = site
    yield run
    site.close()


def test_what_a_function_did_is_there_when_it_returns_and_gone_when_it_raises(site):
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


def test_a_fault_does_not_tell_what_was_to_be_written(site):
    site.database.write(queries.add_product, "hidden", "hidden", 1)
    with pytest.raises(sa.exc.IntegrityError) as told:
        site.database.write(queries.add_product, "hidden", "secret-of-a-row", 1)
    assert "secret-of-a-row" not in str(told.value)


def test_everybody_writes_alone(site):
    """Read, think, write: whoever did not wait for the others would take the same number."""

    def next_number(conn):
        number = len(names(conn))
        time.sleep(0.001)
        return add(conn, "%d" % number)

    with ThreadPoolExecutor(CALLERS) as pool:
        given = list(pool.map(lambda _: site.database.write(next_number), range(2 * CALLERS)))
    assert sorted(given, key=int) == ["%d" % number for number in range(2 * CALLERS)]


def test_one_transaction_a_savepoint_each(together):
    """All see each other in it; who raises takes back his own part only."""
    seen = []

    def write(number):
        def function(conn):
            seen.append(len(names(conn)))
            add(conn, "%d" % number)
            if number % 3 == 0:
                raise CloudError("%d" % number)
            if number % 3 == 1:
                add(conn, "%d" % number)  # a second time: refused by the database itself
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


def test_nobody_has_succeeded_when_the_transaction_is_lost(together):
    def lose(conn):
        add(conn, "lost")
        conn.exec_driver_sql("ROLLBACK")
        raise CloudError("never said")

    functions = [lambda conn, n=n: add(conn, "%d" % n) for n in range(CALLERS)]
    ended = together(functions[:10] + [lose] + functions[10:])
    assert all(isinstance(end, Exception) and not isinstance(end, CloudError) for end in ended), ended
    assert together.site.database.read(names) == set()
    assert together.site.database.write(add, "next") == "next"


def test_a_read_is_of_one_moment(site, make_site):
    other = make_site(site.data)

    def look(conn):
        before = names(conn)
        other.database.write(add, "b")
        return before, names(conn)

    site.database.write(add, "a")
    assert site.database.read(look) == ({"a"}, {"a"})
    assert site.database.read(names) == {"a", "b"}
    other.close()


def test_who_reads_cannot_write(site):
    with pytest.raises((Unavailable, sa.exc.DBAPIError), match="read-?only"):
        site.database.read(add, "a")
    assert site.database.write(names) == set()


def test_soft_writes_are_there_at_the_end_the_last_of_each_key(site, make_site):
    for name in "abc":
        site.database.write(add, name)
    for number in range(50):
        for key in "ab":
            site.database.soft(rename, key, {"key": key, "new": "%s%d" % (key, number)})
    site.close()
    again = make_site(site.data)
    assert again.database.read(names) == {"a49", "b49", "c"}
    again.close()


def test_soft_writes_come_by_themselves(site):
    site.database.write(add, "a")
    site.database.soft(rename, "a", {"key": "a", "new": "b"})
    give_up = time.monotonic() + 30
    while site.database.read(names) != {"b"}:
        assert time.monotonic() < give_up
        time.sleep(0.02)


def test_a_soft_write_that_cannot_be_is_told_and_harms_no_other(make_site, tmp_path, caplog):
    def broken(conn, rows):
        raise KeyError("nothing of it")

    site = make_site(tmp_path / "site", threads=True)
    site.database.write(add, "a")
    site.database.soft(broken, "a", {})
    site.database.soft(rename, "a", {"key": "a", "new": "b"})
    site.close()
    assert "broken" in caplog.text and "nothing of it" in caplog.text
    again = make_site(tmp_path / "site")
    assert again.database.read(names) == {"b"}
    again.close()


def test_soft_writes_wait_for_a_database_that_is_away_but_not_without_end():
    waiting = deferred_writes.Soft()
    old, newer = {"name": "old"}, {"name": "newer"}
    for number in range(deferred_writes.ROWS):
        waiting.add(rename, number, old)
    with pytest.raises(Unavailable, match="%d" % deferred_writes.ROWS):
        waiting.add(rename, -1, newer)
    waiting.add(rename, 0, newer)
    taken = waiting.take()
    assert len(waiting) == 0 and len(taken[rename]) == deferred_writes.ROWS and taken[rename][0] == newer
    waiting.add(rename, 1, newer)
    waiting.failed(rename, taken[rename], Unavailable("away"))
    assert len(waiting) == deferred_writes.ROWS and waiting.take()[rename][1] == newer


def test_soft_writes_take_no_more_memory_than_they_may(monkeypatch):
    monkeypatch.setattr(deferred_writes, "CHARACTERS", 100)
    waiting = deferred_writes.Soft()
    waiting.add(rename, 1, {"name": "x" * 60})
    waiting.add(rename, 1, {"name": "y" * 90})  # in the place of the other
    with pytest.raises(Unavailable, match="90 characters"):
        waiting.add(rename, 2, {"name": "z" * 11})
    waiting.add(rename, 2, {"name": "z" * 10})
    taken = waiting.take()
    waiting.add(rename, 3, {"name": "w" * 100})
    waiting.failed(rename, taken[rename], Unavailable("away"))  # nothing that was accepted is lost
    assert len(waiting) == 3
    with pytest.raises(Unavailable):
        waiting.add(rename, 4, {"name": "w"})


def test_a_closed_site_says_so(make_site, tmp_path):
    site = make_site(tmp_path / "site", threads=True)
    site.close()
    with pytest.raises(Unavailable, match="closed"):
        site.database.write(add, "a")
    site.close()
