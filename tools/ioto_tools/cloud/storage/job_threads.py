"""Threads that run jobs in transactions: all jobs that are submitted during one transaction share the next."""

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, TypeVarTuple

import sqlalchemy as sa

from ..http.errors import Unavailable
from . import group_commit
from .deferred_writes import WAIT_S, DeferredWrites

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


class JobThread(threading.Thread):
    """Runs jobs through transaction(function, *arguments), until close()."""

    def __init__(self, name: str, transaction: Callable[..., Any]) -> None:
        super().__init__(name=name, daemon=True)
        self._transaction = transaction
        self._queue: queue.SimpleQueue[group_commit.AnyJob | None] = queue.SimpleQueue()  # None only wakes the thread
        self._open = True
        self._queue_lock = threading.Lock()
        self.start()

    async def run_batched(self, function: Callable[[sa.Connection, list[Any]], Sequence[Any]], item: Any) -> Any:
        """Return the result for `item` of a batch function (group_commit.py); blocks no thread while it waits."""
        job = group_commit.ItemJob(function, item)
        self._submit(job)
        return await job.done

    def _submit(self, job: group_commit.AnyJob) -> None:
        with self._queue_lock:
            if not self._open:
                raise Unavailable("the site is closed")
            self._queue.put(job)

    def close(self) -> None:
        """Finish all earlier jobs, then stop the thread."""
        with self._queue_lock:
            self._open = False
            self._queue.put(None)
        self.join()

    def run(self) -> None:
        jobs: list[group_commit.AnyJob] = []
        while self._open or jobs:
            jobs = self._next_jobs()
            group_commit.commit(self._transaction, jobs)
            self._after_transaction()

    def _after_transaction(self) -> None:
        """Called after each transaction, and if no job arrives within WAIT_S."""

    def _next_jobs(self) -> list[group_commit.AnyJob]:
        """The waiting jobs, at most group_commit.SIZE; an empty list if none arrives within WAIT_S."""
        jobs = []
        try:
            jobs.append(self._queue.get(timeout=WAIT_S if self._open else 0))
            while len(jobs) < group_commit.SIZE:
                jobs.append(self._queue.get_nowait())
        except queue.Empty:
            pass
        return [job for job in jobs if job]


class Writer(JobThread):
    """Writes through transaction(function, *arguments), until close()."""

    def __init__(self, transaction: Callable[..., Any]) -> None:
        self.soft = DeferredWrites()
        super().__init__("writer", transaction)

    def write(self, function: Callable[[sa.Connection, *Arguments], T], *arguments: *Arguments) -> T:
        """Return function(conn, *arguments) after its transaction is committed."""
        job = group_commit.Job(function, *arguments)
        self._submit(job)
        result: T = job.done.result()
        return result

    def run(self) -> None:
        super().run()
        self._write_deferred()

    def _after_transaction(self) -> None:
        if self.soft.due():
            self._write_deferred()

    def _write_deferred(self) -> None:
        taken = self.soft.take()
        jobs = [group_commit.Job(function, list(rows.values())) for function, rows in taken.items()]
        group_commit.commit(self._transaction, jobs)
        for job in jobs:
            if error := job.done.exception():
                self.soft.put_back(job.function, taken[job.function], error)
