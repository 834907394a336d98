"""Group commit: several functions share one transaction, and their callers get the results after the commit.

Each function runs in a savepoint: if it raises, only its own changes are rolled back and only its caller gets the
exception.
"""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import sqlalchemy as sa

SIZE = 256  # maximum number of functions in one transaction
Outcome = tuple[Any, BaseException | None]  # a function's result, and the exception that it raised or None


class Job:
    """A call of function(conn, *arguments); `done` is the future that its caller waits for."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function = function
        self.arguments = arguments
        self.done: Future[Any] = Future()

    def end(self, result: Any, error: BaseException | None) -> None:
        """Pass the result, or the exception, to the caller."""
        if error:
            self.done.set_exception(error)
        else:
            self.done.set_result(result)


def commit(transaction: Callable[..., list[Outcome]], jobs: list[Job]) -> None:
    """Run the jobs in one transaction(function, *arguments) and set the result of each."""
    if not jobs:
        return
    try:
        outcomes = transaction(_run_all, jobs)
    except Exception as e:
        outcomes = [(None, e)] * len(jobs)
    for job, (result, error) in zip(jobs, outcomes):
        job.end(result, error)


def _run_all(conn: sa.Connection, jobs: list[Job]) -> list[Outcome]:
    return [_run(conn, job) for job in jobs]


def _run(conn: sa.Connection, job: Job) -> Outcome:
    result, error = None, None
    conn.exec_driver_sql("SAVEPOINT job")
    try:
        result = job.function(conn, *job.arguments)
    except Exception as e:
        if conn.invalidated:  # the connection is lost, and with it the changes of the earlier jobs
            raise
        # This raises if an error such as a full disk has ended the whole transaction: then all jobs fail.
        conn.exec_driver_sql("ROLLBACK TO SAVEPOINT job")
        error = e
    conn.exec_driver_sql("RELEASE SAVEPOINT job")
    return result, error
