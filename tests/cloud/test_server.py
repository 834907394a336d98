"""The limits around every wait for a client, and around nothing else."""

import asyncio
import socket

import pytest
from ioto_tools.cloud.http import server, timeouts
from ioto_tools.cloud.http.errors import Refusal

AWAY_S = 0.3


def wait_in(kind, monkeypatch):
    """An application that waits AWAY_S for its next message, where a client is given a tenth of that."""
    monkeypatch.setattr(server, "BODY_S", AWAY_S / 10)
    monkeypatch.setattr(timeouts, "LOOK_S", AWAY_S / 30)
    heard = []

    async def app(scope, receive, send):
        heard.append(await receive())

    async def receive():
        await asyncio.sleep(AWAY_S)
        return {"type": "a message"}

    asyncio.run(server._limited(app)({"type": kind}, receive, None))
    return heard


def test_a_client_that_says_nothing_is_not_waited_for(monkeypatch):
    with pytest.raises(Refusal, match="too slowly") as e:
        wait_in("http", monkeypatch)
    assert e.value.status == 408


def test_what_lives_as_long_as_the_server_is(monkeypatch):
    assert wait_in("lifespan", monkeypatch) == [{"type": "a message"}]


def test_an_answer_in_two_writes_waits_for_nobody():
    """TCP_NODELAY on what is accepted: else the kernel holds a body back until the other side has acknowledged the
    head.
    """
    with server._listen("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname(), 5):
        with listening.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
