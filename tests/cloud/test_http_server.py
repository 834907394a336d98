"""Waits for a client have a limit, waits for a lifespan message have none; sockets have TCP_NODELAY; joined writes."""

import asyncio
import socket

import pytest
from ioto_tools.cloud.http import server, timeouts
from ioto_tools.cloud.http.errors import Refusal
from ioto_tools.cloud.http.joined_writes import JoinedWrites

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


class Written(asyncio.Transport):
    """A transport that records in `all` what reaches it."""

    def __init__(self):
        super().__init__()
        self.all = []

    def write(self, data):
        self.all.append(data)

    def close(self):
        self.all.append("closed")

    def abort(self):
        self.all.append("aborted")


def joined(*steps):
    """What reaches the transport in the steps: data to write, another call by its name, 0: an iteration of the loop."""

    async def run():
        inner = Written()
        transport = JoinedWrites(inner, asyncio.get_running_loop())
        for step in steps:
            if step == 0:
                await asyncio.sleep(0)
            elif isinstance(step, bytes):
                transport.write(step)
            else:
                getattr(transport, step)()
        return inner.all

    return asyncio.run(run())


LONG = b"x" * 5000


@pytest.mark.parametrize(
    "steps, written",
    [
        ((b"head", b"body", b"", 0), [b"headbody"]),
        ((b"head", b"body", 0, b"head2", b"body2", 0), [b"headbody", b"head2body2"]),
        ((b"head", b"body", b"next", b"", 0), [b"headbody", b"next"]),
        ((b"head", 0, b"body", 0), [b"head", b"body"]),  # the head does not wait for a slow body
        ((b"head", LONG, LONG), [b"head" + LONG, LONG]),
        ((LONG, b"end", 0), [LONG, b"end"]),
        ((b"head", "close"), [b"head", "closed"]),
        ((b"head", "abort", 0), ["aborted"]),
        ((b"", 0, "close"), ["closed"]),
    ],
)
def test_short_data_is_joined_with_the_next(steps, written):
    assert joined(*steps) == written
