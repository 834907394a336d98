"""Runs several worker processes on one socket. A worker that ends, for any reason, is replaced."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

from .errors import CloudError

_SPAWN = multiprocessing.get_context("spawn")  # not fork: this process has threads
_RESTART_S = 1.0  # minimum time between two starts of a worker, even if it ends at once
_END_S = 15  # for a worker to finish its requests


def run(
    count: int,
    work: Callable[..., None],
    *arguments: Any,
    ready: Callable[[], None] | None,
    said: Callable[[str], None],
) -> None:
    """Run work(ready, *arguments) in `count` processes until SIGINT or SIGTERM.

    `work` and the arguments must be picklable. ready() is called after every process has called its ready();
    said(text) is called when a process has ended.
    """
    resource_tracker.ensure_running()  # starting it unblocks Ctrl-C, which Worker.start() blocks
    workers = [Worker(work, arguments) for _ in range(count)]
    try:
        for worker in workers:
            worker.start()
        waiting = set(workers)
        while True:
            readable = multiprocessing.connection.wait([worker.pipe for worker in workers])
            for worker in [worker for worker in workers if worker.pipe in readable]:
                if worker.read_ready():
                    waiting.discard(worker)
                    if not waiting and ready:
                        ready()
                        ready = None
                else:
                    said("%s: starting another" % worker.describe_end())
                    worker.start()
    except KeyboardInterrupt:
        pass
    finally:
        # A second Ctrl-C is ignored: the workers end within a limited time anyway.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for worker in workers:
            worker.stop()
        for worker in workers:
            worker.end()


class Worker:
    """A worker process and its replacements. `pipe` is readable when the process is ready or has ended."""

    pipe: Connection

    def __init__(self, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self.work = work
        self.arguments = arguments
        self.process: SpawnProcess | None = None
        self.started_at: float | None = None

    def start(self) -> None:
        if self.started_at is not None:
            time.sleep(max(0.0, self.started_at + _RESTART_S - time.monotonic()))
        self.started_at = time.monotonic()
        self.pipe, theirs = _SPAWN.Pipe()
        process = self.process = _SPAWN.Process(target=_work, args=(theirs, self.work, self.arguments))
        # A terminal sends Ctrl-C to the workers too, even while they start. They inherit the blocked signal; stop()
        # ends them.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()

    def read_ready(self) -> bool:
        """Read the pipe. True: the process is ready; False: it has ended."""
        try:
            self.pipe.recv()
            return True
        except (EOFError, OSError):
            self.pipe.close()
            return False

    def describe_end(self) -> str:
        """Wait for the end of the process. Returns "worker PID ended (CAUSE)"."""
        assert self.process is not None
        self.process.join()
        code = self.process.exitcode
        assert code is not None
        return "worker %s ended (%s)" % (
            self.process.pid,
            "exit code %d" % code if code >= 0 else signal.Signals(-code).name,
        )

    def is_alive(self) -> bool:
        return self.process is not None and self.process.is_alive()

    def has_failed(self) -> bool:
        """Has the process ended with an error?"""
        return self.process is not None and self.process.exitcode not in (None, 0)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()

    def end(self) -> None:
        if self.process is not None:
            self.process.join(_END_S)
            self.process.kill()
            self.process.join()


def _work(pipe: Connection, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    threading.Thread(target=_end_with_parent, args=(pipe,), daemon=True).start()
    try:
        work(lambda: pipe.send(True), *arguments)
    except CloudError as e:
        sys.exit(str(e))
    except KeyboardInterrupt:  # before the server started
        pass


def _end_with_parent(pipe: Connection) -> None:
    """End this process once the parent process has ended."""
    try:
        pipe.recv()
    except (EOFError, OSError):
        os.kill(os.getpid(), signal.SIGTERM)
