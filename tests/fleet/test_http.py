"""The fleet's HTTP client and a scripted server: split and truncated answers; kept, closed and silent connections."""

import asyncio
import ssl

from ioto_tools.fleet.http import Client, request

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Word: a b\r\ncontent-length: 9\r\n\r\n{"a": 12}'


class Server:
    """A server. `script(number, head, body)` returns its actions: bytes to send, seconds to wait, None to close."""

    def __init__(self, script):
        self.script = script
        self.connections = 0
        self.requests = []

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exception):
        self.server.close()

    async def serve(self, reader, writer):
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)
                body = await reader.readexactly(length)
                self.requests.append((head, body))
                for piece in self.script(len(self.requests), head, body):
                    if piece is None:
                        return
                    if isinstance(piece, bytes):
                        writer.write(piece)
                        await writer.drain()
                    else:
                        await asyncio.sleep(piece)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def play(script, ask, **options):
    """Run the coroutine ask(client, server); return (its result, the server)."""

    async def run():
        async with Server(script) as server:
            client = Client("127.0.0.1", server.port, **options)
            try:
                async with asyncio.timeout(20):
                    return await ask(client, server), server
            finally:
                await client.close()

    return asyncio.run(run())


async def one(client, sink=None, **fields):
    answered = asyncio.get_running_loop().create_future()
    client.ask(request("POST", "/p", "h", "T", b"{}", **fields), answered.set_result, sink)
    return await answered


def test_answer_split_anywhere_on_one_kept_connection():
    async def ask(client, server):
        return [await one(client) for _ in ANSWER]

    replies, server = play(lambda n, head, body: (ANSWER[: n - 1], 0.0005, ANSWER[n - 1 :]), ask)
    assert {(r.status, r.body, r.header("x-word"), r.header("nix"), r.error) for r in replies} == {
        (200, b'{"a": 12}', "a b", "", "")
    }
    assert server.connections == 1
    head, body = server.requests[0]
    assert head.startswith(b"POST /p HTTP/1.1\r\nHost: h\r\nAuthorization: bearer T\r\n") and body == b"{}"


def test_truncated_answer_is_an_error():
    async def ask(client, server):
        return [await one(client) for _ in ANSWER]

    replies, _ = play(lambda n, head, body: (ANSWER[: n - 1], None), ask, keep_alive=False)
    assert {(r.status, r.error) for r in replies} == {(0, "connection lost")}


def test_request_on_a_closed_kept_connection_is_sent_again_once():
    """A request on a connection that was just closed is sent again, unless an answer had begun."""

    async def ask(client, server):
        found = [await one(client)]
        found.append(await one(client))
        return found

    replies, server = play(lambda n, head, body: (ANSWER,) if n != 2 else (None,), ask)
    assert [r.status for r in replies] == [200, 200] and len(server.requests) == 3 and server.connections == 2
    replies, server = play(lambda n, head, body: (ANSWER,) if n != 2 else (ANSWER[:3], None), ask)
    assert [r.status for r in replies] == [200, 0] and len(server.requests) == 2


def test_connections_are_limited_and_all_requests_answered():
    async def ask(client, server):
        replies = await asyncio.gather(*(one(client) for _ in range(50)))
        return [r.status for r in replies]

    statuses, server = play(lambda n, head, body: (0.001, ANSWER), ask, connections=4)
    assert statuses == [200] * 50 and server.connections == 4
    statuses, server = play(lambda n, head, body: (0.001, ANSWER), ask, connections=4, keep_alive=False)
    assert statuses == [200] * 50 and server.connections == 50


def test_connection_close_is_obeyed():
    async def ask(client, server):
        return [(await one(client)).status for _ in range(3)]

    bye = ANSWER.replace(b"X-Word: a b", b"Connection: close")
    statuses, server = play(lambda n, head, body: (bye,), ask)
    assert statuses == [200] * 3 and server.connections == 3


def test_sink_receives_only_successful_bodies():
    async def ask(client, server):
        got = []
        replies = [await one(client, got.append) for _ in range(2)]
        return b"".join(got), [(r.status, r.body) for r in replies]

    long = b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300000
    refused = ANSWER.replace(b"200 OK", b"404 no")
    (got, replies), _ = play(lambda n, head, body: (long,) if n == 1 else (refused,), ask)
    assert got == b"x" * 300000 and replies == [(200, b""), (404, b'{"a": 12}')]


def test_invalid_answers():
    bad = {
        b"SMTP hello\r\n\r\n": "Content-Length",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n": "Content-Length",
        b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300000: "longer than",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxx": "longer than its",
        b"x" * 70000: "head too long",
    }

    async def ask(client, server):
        return [await one(client) for _ in bad]

    replies, server = play(lambda n, head, body: (list(bad)[n - 1], 5), ask)
    assert all(r.status == 0 and word in r.error for r, word in zip(replies, bad.values(), strict=True)), [
        r.error for r in replies
    ]


def test_timeout_frees_the_connection():
    async def ask(client, server):
        return [r.error or r.status for r in await asyncio.gather(one(client), one(client))]

    said, _ = play(lambda n, head, body: (30,) if n == 1 else (ANSWER,), ask, connections=1, timeout_s=0.2)
    assert said == ["timeout", 200]


def test_no_listener_and_no_tls():
    async def ask(client, server):
        server.server.close()
        return [(await one(client)).error for _ in range(3)]

    said, _ = play(lambda n, head, body: (), ask, connections=1)
    assert len(said) == 3 and all(each.startswith("connect: ") for each in said)
    said, _ = play(
        lambda n, head, body: (None,), lambda client, server: one(client), tls=ssl.create_default_context(), timeout_s=1
    )
    assert said.status == 0 and said.error.startswith("connect: ")
