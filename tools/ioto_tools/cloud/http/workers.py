"""Runs several worker processes on one socket. A worker that ends, for any reason, is replaced."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import time
from multiprocessing import resource_tracker

from .errors import CloudError

_SPAWN = multiprocessing.get_context("spawn")  # not fork: this process has threads
_AGAIN_S = 1.0  # minimum time between two starts of a worker, also if it ends at once
_END_S = 15  # for a worker to finish its requests


def run(count, work, *arguments, ready, said) -> None:
    """Run work(ready, *arguments) in `count` processes until SIGINT or SIGTERM; `work` and the arguments must be
    picklable.

    ready() is called once all of the processes have called theirs; said(text) is called when one has ended.
    """
    resource_tracker.ensure_running()  # its start would unblock Ctrl-C in start()
    places = [_Place(work, arguments) for _ in range(count)]
    try:
        for place in places:
            place.start()
        waiting = set(places)
        while True:
            ended = multiprocessing.connection.wait([place.pipe for place in places])
            for place in [place for place in places if place.pipe in ended]:
                if place.heard():
                    waiting.discard(place)
                    if not waiting and ready:
                        ready()
                        ready = None
                else:
                    said("worker %d ended (%s): another follows" % (place.process.pid, place.how()))
                    place.start()
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the workers end within a limit already: ignore a second Ctrl-C
        for place in places:
            place.stop()
        for place in places:
            place.end()


class _Place:
    """Runs one worker after the other. `pipe` is readable when the current one is ready or has ended."""

    def __init__(self, work, arguments) -> None:
        self.work = work
        self.arguments = arguments
        self.process = None
        self.started_at = None

    def start(self) -> None:
        if self.started_at is not None:
            time.sleep(max(0.0, self.started_at + _AGAIN_S - time.monotonic()))
        self.started_at = time.monotonic()
        self.pipe, theirs = _SPAWN.Pipe()
        self.process = _SPAWN.Process(target=_worker, args=(theirs, self.work, self.arguments))
        # A terminal sends Ctrl-C to the workers too, even while they start: they inherit the blocked signal, and are
        # ended by stop().
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()

    def heard(self) -> bool:
        """Read the pipe. True: the worker is ready; False: it has ended."""
        try:
            self.pipe.recv()
            return True
        except (EOFError, OSError):
            self.pipe.close()
            self.process.join()
            return False

    def how(self):
        code = self.process.exitcode
        return "exit code %d" % code if code >= 0 else signal.Signals(-code).name

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()

    def end(self) -> None:
        if self.process is not None:
            self.process.join(_END_S)
            self.process.kill()
            self.process.join()


def _worker(pipe, work, arguments) -> None:
    threading.Thread(target=_with_parent, args=(pipe,), daemon=True).start()
    try:
        work(lambda: pipe.send(True), *arguments)
    except CloudError as e:
        sys.exit(str(e))
    except KeyboardInterrupt:  # before the server started
        pass


def _with_parent(pipe) -> None:
    """End this worker if the parent process has ended."""
    try:
        pipe.recv()
    except (EOFError, OSError):
        os.kill(os.getpid(), signal.SIGTERM)
