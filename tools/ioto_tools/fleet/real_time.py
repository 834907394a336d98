"""Runs a fleet against a running cloud, in real time."""

import asyncio
from collections.abc import Callable
from ssl import SSLContext
from typing import Any
from urllib.parse import SplitResult, urlsplit

from .fleet import Fleet
from .http import Client, Done, Sink, request
from .settings import Settings

_POLL_S = 0.25  # interval between calls of told(); over() is called at least as often
_DRAIN_S = 30  # maximum wait for the last answers


class HttpClients:
    """Sends each request to the server in its URL. `tls`: SSLContext for https; `options`: arguments of http.Client."""

    def __init__(self, tls: SSLContext | None = None, **options: Any) -> None:
        self.tls, self.options = tls, options
        self.clients: dict[tuple[str, str], Client] = {}

    def ask(
        self, method: str, url: str, token: str, body: bytes, done: Done, more: str = "", sink: Sink | None = None
    ) -> None:
        parts = urlsplit(url)
        client = self.clients.get(parts[:2]) or self._client(parts)
        target = (parts.path or "/") + ("?" + parts.query if parts.query else "")
        client.ask(request(method, target, parts.netloc, token, body, more, client.keep_alive), done, sink)

    def _client(self, parts: SplitResult) -> Client:
        https = parts.scheme == "https"
        client = Client(
            parts.hostname or "localhost",
            parts.port or (443 if https else 80),
            tls=self.tls if https else None,
            **self.options,
        )
        self.clients[parts[:2]] = client
        return client

    async def close(self) -> None:
        for client in self.clients.values():
            await client.close()


async def run(
    settings: Settings,
    url: str,
    seconds: float,
    told: Callable[[Fleet], object] = lambda fleet: None,
    over: Callable[[Fleet], bool] = lambda fleet: False,
    **options: Any,
) -> Fleet:
    """Run for `seconds`, or until over(fleet) is true; then wait for the pending answers. Returns the fleet.

    told(fleet) is called four times a second. `options` are arguments of HttpClients.
    """
    loop = asyncio.get_running_loop()
    wire = HttpClients(**options)
    fleet = Fleet(settings, url.rstrip("/"), wire.ask, loop.time)
    ends = loop.time() + seconds
    next_poll = loop.time()
    try:
        while loop.time() < ends and not over(fleet):
            fleet.step(limit=500)
            if loop.time() >= next_poll:
                next_poll = loop.time() + _POLL_S
                told(fleet)
            due_s = fleet.due_s()
            until = next_poll if due_s is None else min(due_s, next_poll)
            await asyncio.sleep(max(0, min(until, ends) - loop.time()))
        drained = loop.time() + _DRAIN_S
        while fleet.pending and loop.time() < drained:
            await asyncio.sleep(0.01)
    finally:
        await wire.close()
    return fleet
