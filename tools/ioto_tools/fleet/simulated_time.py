"""Runs a fleet against a cloud in this process, in simulated time: days take minutes, and runs are reproducible."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.types import Message

from ioto_tools.cloud.app import create_app
from ioto_tools.cloud.devices.worker_cache import REFRESH_S, WorkerCache
from ioto_tools.cloud.storage.transactions import Database

from .fleet import Fleet
from .http import Done, Reply, Sink
from .settings import Settings


class InProcessClient:
    """Sends requests to an ASGI application that awaits only `receive` and `send`, and so answers at once.

    create_app(threads=False) makes such an application.
    """

    def __init__(self, app: Starlette) -> None:
        self.app = app

    def ask(
        self, method: str, url: str, token: str, body: bytes, done: Done, more: str = "", sink: Sink | None = None
    ) -> None:
        path, query = urlsplit(url)[2:4]
        headers = [(b"host", b"cloud.test")]
        if token:
            headers.append((b"authorization", b"bearer " + token.encode()))
        lines = (line.split(":", 1) for line in more.lower().splitlines())
        headers += [(name.strip().encode(), value.strip().encode()) for name, value in lines]
        reply = self.call(method, path, query, headers, body)
        if sink and reply.status < 300:
            sink(reply.body)
        done(reply)

    def post(self, path: str, token: str, fields: dict[str, Any]) -> Reply:
        return self.call(
            "POST", path, headers=[(b"authorization", b"bearer " + token.encode())], body=json.dumps(fields).encode()
        )

    def call(
        self, method: str, path: str, query: str = "", headers: Sequence[tuple[bytes, bytes]] = (), body: bytes = b""
    ) -> Reply:
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "method": method,
            "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
            "headers": headers, "server": ("cloud.test", 80), "client": ("127.0.0.1", 5000),
        }  # fmt: skip
        steps = self.app(scope, receive, send)
        try:
            steps.send(None)
        except StopIteration:
            pass
        else:
            steps.close()
            raise RuntimeError("%s %s: the application waits for something other than its client" % (method, path))
        start = sent[0]
        head = b"".join(b"\r\n%s: %s" % header for header in start["headers"]) + b"\r\n"
        return Reply(start["status"], head, b"".join(message.get("body", b"") for message in sent[1:]))


def cloud(folder: Path, clock: "Clock", **options: Any) -> Starlette:
    """The cloud of the site in `folder`, in the time of `clock`; `options` are arguments of create_app().

    Like a server, it checks for changes once a second and collects deferred writes for a second, but in simulated time.
    """
    app = create_app(folder, clock=clock, threads=False, **options)
    app.state.memory = WorkerCache(REFRESH_S, clock)
    app.state.site.database = DeferringDatabase(app.state.site.database, clock)
    return app


class DeferringDatabase:
    """A site's database that collects deferred writes for a second."""

    def __init__(self, database: Database, clock: "Clock") -> None:
        self.read, self.read_batched = database.read, database.read_batched
        self.write, self.write_batched = database.write, database.write_batched
        self._database, self._clock = database, clock
        self._rows: dict[Callable[..., object], dict[object, Any]] = {}
        self._since = clock()

    def write_later(self, function: Callable[..., object], key: object, row: Any) -> None:
        self._rows.setdefault(function, {})[key] = row
        if self._clock() - self._since >= 1:
            self.settle()

    def settle(self) -> None:
        rows, self._rows, self._since = self._rows, {}, self._clock()
        for function, waiting in rows.items():
            self.write(function, list(waiting.values()))

    def close(self) -> None:
        self.settle()
        self._database.close()


class Simulation:
    """A fleet, the application `app` and their common clock. `settled()` is called at the end of each run()."""

    def __init__(
        self, app: Starlette, clock: "Clock", settings: Settings, settled: Callable[[], object] = lambda: None
    ) -> None:
        self.clock, self.settled = clock, settled
        self.fleet = Fleet(settings, "http://cloud.test", InProcessClient(app).ask, clock)

    def run(self, seconds: float) -> None:
        """Run for `seconds` of simulated time."""
        ends_s = self.clock.now_s + seconds
        while (due_s := self.fleet.due_s()) is not None and due_s <= ends_s:
            self.clock.now_s = max(self.clock.now_s, due_s)
            self.fleet.step()
        self.clock.now_s = ends_s
        self.settled()


class Clock:
    """A clock that only advances when `now_s` is set."""

    def __init__(self, now_s: float = 1_800_000_000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s
