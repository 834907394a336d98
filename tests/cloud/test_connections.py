"""Slow and silent clients on a real server: they are disconnected, and other clients are still answered."""

import contextlib
import json
import socket
import threading
import time
import urllib.request

import pytest
import uvicorn
from ioto_tools.cloud.api.openapi import PREFIX
from ioto_tools.cloud.http import connection_limits
from ioto_tools.cloud.http.connection_limits import Connections, limited_protocol, within_open_file_limit

HALF_A_HEAD = b"POST /tok/provision/update HTTP/1.1\r\nHost: cloud.test\r\nX-Slow: "
HALF_A_BODY = b"POST / HTTP/1.1\r\nHost: cloud.test\r\nContent-Length: 2\r\n\r\nx"
WHOLE = b"GET / HTTP/1.1\r\nHost: cloud.test\r\n\r\n"


@contextlib.contextmanager
def serving(limits, app=None):
    """Run a server with these `limits` in a thread; yield a function that connects to it from an address."""

    async def hello(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"hi"})

    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listening:
        config = uvicorn.Config(
            app or hello, http=limited_protocol(limits), lifespan="off", log_level="warning", timeout_keep_alive=1
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        opened = []

        def connect(address, data=b""):
            client = socket.create_connection(listening.getsockname(), 10, source_address=(address, 0))
            opened.append(client)
            client.sendall(data)
            return client

        try:
            yield connect
        finally:  # also if the test fails; otherwise pytest would wait for the thread
            server.should_exit = True
            for client in opened:
                client.close()
            thread.join(30)


def gets_response(client):
    client.sendall(WHOLE)
    reply = b""
    while not reply.endswith(b"hi"):
        reply += client.recv(100)
    return reply.startswith(b"HTTP/1.1 200")


def is_closed(client):
    try:
        return client.recv(100) == b""
    except ConnectionResetError:
        return True


def until(condition):
    """Wait until another thread makes `condition` true."""
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("the condition is still false")


@pytest.mark.parametrize("beginning", [b"", HALF_A_HEAD])
def test_client_without_a_complete_head_is_disconnected(monkeypatch, beginning):
    monkeypatch.setattr(connection_limits, "HEAD_S", 0.2)
    limits = Connections()
    with serving(limits) as connect:
        assert is_closed(connect("127.0.0.2", beginning))
        kept = connect("127.0.0.2")
        assert gets_response(kept)
        kept.sendall(HALF_A_HEAD)  # the same for the second request over a connection
        assert is_closed(kept)
        until(lambda: len(limits) == 0)


def test_trickled_head_has_the_same_time_limit(monkeypatch):
    monkeypatch.setattr(connection_limits, "HEAD_S", 0.3)
    with serving(Connections()) as connect:
        client = connect("127.0.0.2", HALF_A_HEAD)
        client.settimeout(0.02)
        with pytest.raises(OSError):
            for _ in range(1000):
                client.sendall(b"x")
                with contextlib.suppress(TimeoutError):
                    if client.recv(100) == b"":
                        raise ConnectionResetError
        assert "timed out" not in str(client)


def test_idle_connections_are_closed_for_new_requests():
    limits = Connections(most=20, per_address=10)
    with serving(limits) as connect:
        slow = [connect("127.0.0.%d" % (2 + i % 4), HALF_A_HEAD) for i in range(60)]
        assert all(gets_response(connect("127.0.1.%d" % i)) for i in range(1, 101))
        assert len(limits) <= 20
        assert is_closed(slow[0])


def test_connections_of_one_address_are_limited_except_for_proxies():
    limits = Connections(most=1000, per_address=5)
    with serving(limits) as connect:
        first = connect("127.0.0.2")
        others = [connect("127.0.0.2") for _ in range(5)]
        assert is_closed(first) and all(gets_response(each) for each in others)
        proxied = [connect("127.0.0.1") for _ in range(50)]  # a proxy forwards requests of many clients
        assert all(gets_response(each) for each in proxied)


def test_running_request_is_never_closed_for_a_new_one():
    finish = threading.Event()

    async def slow(scope, receive, send):
        import asyncio

        await asyncio.to_thread(finish.wait, 30)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    limits = Connections(most=3, per_address=3)
    with serving(limits, slow) as connect:
        busy = [connect("127.0.0.%d" % i, WHOLE) for i in (2, 3, 4)]
        until(lambda: len(limits) == 3 and not limits._waiting)
        assert is_closed(connect("127.0.0.5"))
        finish.set()
        assert all(each.recv(100).startswith(b"HTTP/1.1 200") for each in busy)


async def read_body_then_answer(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"hi"})


def test_connections_with_incomplete_bodies_are_closed_for_new_requests():
    limits = Connections(most=20, per_address=10)
    with serving(limits, read_body_then_answer) as connect:
        slow = [connect("127.0.0.%d" % (2 + i % 4), HALF_A_BODY) for i in range(60)]
        until(
            lambda: len(limits) == 20 and all(each.cycle for each in list(limits._addresses))
        )  # all heads have been read
        assert all(gets_response(connect("127.0.1.%d" % i)) for i in range(1, 101))
        assert len(limits) <= 20
        assert is_closed(slow[0])


def test_silent_body_is_closed_before_an_arriving_one():
    limits = Connections(most=3, per_address=3)
    fakes = [FakeConnection("192.0.2.%d" % n) for n in range(6)]
    for each in fakes[:3]:
        limits.add(each)
    limits.receiving(fakes[0])
    limits.busy(fakes[1])
    for each in fakes[3:5]:
        assert limits.add(each)
        limits.receiving(fakes[0])
    assert [each.closed for each in fakes] == [False, False, True, True, False, False]


def test_clients_of_one_ipv6_network_share_the_limit():
    limits = Connections(most=1000, per_address=3)
    fakes = [FakeConnection("2001:db8::%x" % n) for n in range(10)] + [
        FakeConnection("2001:db8:0:1::1"),
        FakeConnection("::ffff:192.0.2.1"),
    ]
    assert all(limits.add(each) for each in fakes)
    assert [each.closed for each in fakes] == [True] * 7 + [False] * 5


class FakeConnection:
    """The part of a connection that Connections uses."""

    def __init__(self, address):
        self.client = address, 5000
        self.transport = self
        self.closed = False

    def abort(self):
        self.closed = True


def test_limit_is_reduced_to_the_open_file_limit():
    assert within_open_file_limit(10) == 10
    assert within_open_file_limit(10**9) < 10**9


@pytest.mark.sweep
def test_hundred_requests_are_answered_beside_two_thousand_slow_clients(serve, tmp_path):
    """Each slow client connects again as soon as it is disconnected; all honest requests are answered."""
    process, address = serve("--data", str(tmp_path / "site"), "--connections", "500")
    port = int(address.rpartition(":")[2])
    end = threading.Event()

    def hold(n):
        held = {}
        while not end.is_set():
            for i in range(n, n + 250):
                if i not in held:
                    with contextlib.suppress(OSError):
                        held[i] = socket.create_connection(
                            ("127.0.0.1", port), 2, source_address=("127.0.%d.%d" % (2 + i // 200, 1 + i % 200), 0)
                        )
                        held[i].setblocking(False)
                        held[i].sendall(HALF_A_HEAD)
                else:
                    try:
                        if held[i].recv(1) == b"":
                            held.pop(i).close()
                    except BlockingIOError:
                        pass
                    except OSError:
                        held.pop(i).close()
        for each in held.values():
            each.close()

    threads = [threading.Thread(target=hold, args=(n,)) for n in range(0, 2000, 250)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(100):
            with urllib.request.urlopen(address + PREFIX + "/openapi.json", timeout=30) as reply:
                assert json.load(reply)["openapi"]
    finally:
        end.set()
        for thread in threads:
            thread.join()
    assert process.poll() is None
