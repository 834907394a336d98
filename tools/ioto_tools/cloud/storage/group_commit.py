"""Group commit: several calls share one transaction, and their callers get the results after the commit.

Each call runs in a savepoint: if its function raises, only its own changes are rolled back and only its caller gets
the exception. A batch function is called once for all items that wait, so that it needs few statements for many items:

    function(conn, [item, ...]) -> [result, ...]

If the function raises, its changes are rolled back and it is called for each item alone, so that an item that
cannot be stored does not affect the others.
"""

import asyncio
import contextlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import sqlalchemy as sa

Item = TypeVar("Item")

SIZE = 256  # maximum number of calls in one transaction
Outcome = tuple[Any, BaseException | None]  # a call's result, and the exception that it raised or None


def split(items: Iterable[Item], key: Callable[[Item], Hashable]) -> Iterator[list[Item]]:
    """The items in order, in as few lists as possible, none of which contains two items with the same key."""
    part: dict[Hashable, Item] = {}
    for item in items:
        if key(item) in part:
            yield list(part.values())
            part = {}
        part[key(item)] = item
    if part:
        yield list(part.values())


class Job:
    """A call of function(conn, *arguments); `done` is the future that its caller, a thread, waits for."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function = function
        self.arguments = arguments
        self.done: Future[Any] = Future()


class ItemJob:
    """One item of a call of a batch function; its caller, in a running event loop, waits for `done`."""

    def __init__(self, function: Callable[..., Any], item: Any) -> None:
        self.function = function
        self.item = item
        self.loop = asyncio.get_running_loop()
        self.done: asyncio.Future[Any] = self.loop.create_future()


AnyJob = Job | ItemJob


def commit(transaction: Callable[..., list[Outcome]], jobs: Iterable[AnyJob]) -> None:
    """Run the jobs in one transaction(function, *arguments) and set the result of each."""
    batches: dict[Any, list[AnyJob]] = {}
    for job in jobs:
        batches.setdefault(job.function if isinstance(job, ItemJob) else job, []).append(job)
    if not batches:
        return
    jobs = [job for batch in batches.values() for job in batch]
    try:
        outcomes = transaction(_run_all, list(batches.values()))
    except Exception as e:
        outcomes = [(None, e)] * len(jobs)
    _end(zip(jobs, outcomes))


def _end(ended: Iterable[tuple[AnyJob, Outcome]]) -> None:
    """Pass the results or exceptions to the callers. An event loop is woken up once, for all its callers."""
    in_loops: dict[asyncio.AbstractEventLoop, list[tuple[ItemJob, Outcome]]] = {}
    for job, outcome in ended:
        if isinstance(job, ItemJob):
            in_loops.setdefault(job.loop, []).append((job, outcome))
        else:
            _set(job.done, outcome)
    for loop, some in in_loops.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed: its callers no longer wait
            loop.call_soon_threadsafe(_end_items, some)


def _end_items(ended: Sequence[tuple[ItemJob, Outcome]]) -> None:
    for job, outcome in ended:
        if not job.done.done():  # else the caller no longer waits
            _set(job.done, outcome)


def _set(done: Future[Any] | asyncio.Future[Any], outcome: Outcome) -> None:
    result, error = outcome
    if error:
        done.set_exception(error)
    else:
        done.set_result(result)


def _run_all(conn: sa.Connection, batches: list[list[AnyJob]]) -> list[Outcome]:
    return [outcome for batch in batches for outcome in _run_batch(conn, batch)]


def _run_batch(conn: sa.Connection, batch: list[AnyJob]) -> list[Outcome]:
    first = batch[0]
    if isinstance(first, Job):
        return [_run(conn, first.function, *first.arguments)]
    results, error = _run(conn, first.function, [job.item for job in batch if isinstance(job, ItemJob)])
    if error is None:
        return [(each, None) for each in results]
    if len(batch) == 1:
        return [(None, error)]
    return [outcome for job in batch for outcome in _run_batch(conn, [job])]


def _run(conn: sa.Connection, function: Callable[..., Any], *arguments: Any) -> Outcome:
    """The outcome of function(conn, *arguments) in a savepoint."""
    result, error = None, None
    conn.exec_driver_sql("SAVEPOINT job")
    try:
        result = function(conn, *arguments)
    except Exception as e:
        if conn.invalidated:  # the connection is lost, and with it the changes of the earlier jobs
            raise
        # This raises if an error such as a full disk has ended the whole transaction: then all jobs fail.
        conn.exec_driver_sql("ROLLBACK TO SAVEPOINT job")
        error = e
    conn.exec_driver_sql("RELEASE SAVEPOINT job")
    return result, error
