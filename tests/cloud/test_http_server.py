"""Waits for a client have a limit, waits for a lifespan message have none; accepted sockets have TCP_NODELAY."""

import asyncio
import socket

import pytest
from ioto_tools.cloud.http import server, timeouts
from ioto_tools.cloud.http.errors import Refusal

WAIT_S = 0.3


def wait_in(kind, monkeypatch):
    """Run an application that waits WAIT_S for its next message; the limit for clients is a tenth of that."""
    monkeypatch.setattr(server, "BODY_S", WAIT_S / 10)
    monkeypatch.setattr(timeouts, "CHECK_INTERVAL_S", WAIT_S / 30)
    messages = []

    async def app(scope, receive, send):
        messages.append(await receive())

    async def receive():
        await asyncio.sleep(WAIT_S)
        return {"type": "a message"}

    asyncio.run(server._limited(app)({"type": kind}, receive, None))
    return messages


def test_silent_client_gets_408(monkeypatch):
    with pytest.raises(Refusal, match="too slowly") as e:
        wait_in("http", monkeypatch)
    assert e.value.status == 408


def test_lifespan_has_no_limit(monkeypatch):
    assert wait_in("lifespan", monkeypatch) == [{"type": "a message"}]


def test_accepted_sockets_have_tcp_nodelay():
    """Without TCP_NODELAY, the kernel delays the body of a response until the client has acknowledged the head."""
    with server._listen("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname(), 5):
        with listening.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
