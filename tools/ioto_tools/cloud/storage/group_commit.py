"""Group commit: several calls share one transaction, and their callers get the results after the commit.

Each call runs in a savepoint: if its function raises, only its own changes are rolled back and only its caller gets
the exception. A batch function is called once for all items that wait, so that it needs few statements for many items:

    function(conn, [item, ...]) -> [result, ...]

If the function raises, its changes are rolled back and it is called for each item alone, so that an item that
cannot be stored does not affect the others.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator
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
    """A call of function(conn, *arguments); `done` is the future that its caller waits for."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function = function
        self.arguments = arguments
        self.done: Future[Any] = Future()
        self.done.set_running_or_notify_cancel()  # a caller that no longer waits does not cancel the call

    @property
    def batch(self) -> Any:
        """Jobs with the same value are run together."""
        return self

    def end(self, result: Any, error: BaseException | None) -> None:
        """Pass the result, or the exception, to the caller."""
        if error:
            self.done.set_exception(error)
        else:
            self.done.set_result(result)


class ItemJob(Job):
    """One item of a call of a batch function."""

    @property
    def batch(self) -> Any:
        return self.function


def commit(transaction: Callable[..., list[Outcome]], jobs: list[Job]) -> None:
    """Run the jobs in one transaction(function, *arguments) and set the result of each."""
    if not jobs:
        return
    batches: dict[Any, list[Job]] = {}
    for job in jobs:
        batches.setdefault(job.batch, []).append(job)
    jobs = [job for batch in batches.values() for job in batch]
    try:
        outcomes = transaction(_run_all, list(batches.values()))
    except Exception as e:
        outcomes = [(None, e)] * len(jobs)
    for job, (result, error) in zip(jobs, outcomes):
        job.end(result, error)


def _run_all(conn: sa.Connection, batches: list[list[Job]]) -> list[Outcome]:
    return [outcome for batch in batches for outcome in _run_batch(conn, batch)]


def _run_batch(conn: sa.Connection, batch: list[Job]) -> list[Outcome]:
    first = batch[0]
    if not isinstance(first, ItemJob):
        return [_run(conn, first.function, *first.arguments)]
    results, error = _run(conn, first.function, [item for job in batch for item in job.arguments])
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
