"""Name resolution over UDP: silent, wrong and slow servers, answers from other senders, the cache of addresses."""

import errno
import random
import socket
import struct

import pytest
from loopback import one, reason, run

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def reply(asked, *addresses, flags=0x8180, ttl_s=300, number=None, question=None):
    records = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, ttl_s, 4) + socket.inet_aton(a) for a in addresses)
    head = (number or asked[:2]) + struct.pack(">HHHHH", flags, 1, len(addresses), 0, 0)
    return head + (question or asked[12:]) + records


def fetch(server, datagrams, **case):
    case = dict({"names": ["127.0.0.1"], "names_port": datagrams.port, "limit_ms": 1000}, **case)
    return one("http://board.example:%d/" % server.port, **case)


def test_a_name_is_resolved_once(serve, datagrams):
    server = serve(OK)
    names = datagrams(lambda asked: [reply(asked, "127.0.0.1")])
    result = fetch(server, names, times=5)
    assert result.get("status") == 200 and result["failures"] == 0, result
    assert len(names.asked) == 1 and len(server.requests) == 5
    assert b"\x05board\x07example\0" in names.asked[0]
    assert b"\r\nHost: board.example:%d\r\n" % server.port in server.requests[0]


def test_query_ids_are_random(serve, datagrams):
    server = serve(OK)
    names = datagrams(lambda asked: [reply(asked, "127.0.0.1", ttl_s=0)])
    fetch(server, names, times=40)
    assert len(names.asked) == 40  # nothing is cached
    assert len({asked[:2] for asked in names.asked}) > 30


def test_an_address_that_does_not_answer_is_dropped(serve, datagrams):
    server = serve(OK)
    names = datagrams(lambda asked: [reply(asked, "127.0.0.2", "127.0.0.1")])
    result = fetch(server, names, times=2)
    assert result.get("status") == 200 and result["failures"] == 1 and len(names.asked) == 1, result
    answers = iter(["127.0.0.2", "127.0.0.3", "127.0.0.1"])
    names = datagrams(lambda asked: [reply(asked, next(answers))])
    result = fetch(server, names, times=3)
    assert result.get("status") == 200 and result["failures"] == 2 and len(names.asked) == 3, result


@pytest.mark.parametrize(
    "wrong",
    (
        lambda asked: reply(asked, "127.0.0.2", number=b"\0\0" if asked[:2] != b"\0\0" else b"\0\1"),
        lambda asked: reply(asked, "127.0.0.2", question=asked[12:].replace(b"board", b"bored")),
        lambda asked: reply(asked, flags=0x8380),  # truncated, without an address
        lambda asked: reply(asked, "127.0.0.2")[:-1],
        lambda asked: asked,
        lambda asked: b"",
        lambda asked: bytes(600),
    ),
)
def test_datagrams_that_are_not_the_answer_are_ignored(serve, datagrams, wrong):
    server = serve(OK)
    names = datagrams(lambda asked: [wrong(asked)] * 20 + [reply(asked, "127.0.0.1")])
    assert fetch(server, names).get("status") == 200
    assert len(names.asked) == 1


def test_answers_from_another_address_are_ignored(serve, datagrams):
    """An attacker knows id and question, and answers from another port and another address."""
    server = serve(OK)
    attacker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    other.bind(("127.0.0.9", 0))
    names = datagrams(lambda asked: [reply(asked, "127.0.0.1")])

    def send(data, peer):
        for each in (attacker, other):
            each.sendto(data.replace(b"\x7f\0\0\1", b"\x7f\0\0\2"), peer)
        names.sock.sendto(data, peer)

    names.send = send
    assert fetch(server, names).get("status") == 200
    attacker.close()
    other.close()


def test_name_servers_are_asked_in_turn(serve, datagrams):
    server = serve(OK)
    first = datagrams(lambda asked: [reply(asked, flags=0x8182)])  # SERVFAIL
    second = datagrams(lambda asked: [], host="127.0.0.2", port=first.port)
    third = datagrams(lambda asked: [reply(asked, "127.0.0.1")], host="127.0.0.3", port=first.port)
    servers = ["127.0.0.1", "127.0.0.2", "127.0.0.4", "127.0.0.3"]  # no server on .4
    assert fetch(server, first, names=servers).get("status") == 200
    assert (len(first.asked), len(second.asked), len(third.asked)) == (1, 1, 1)


def test_a_lost_query_is_repeated(serve, datagrams):
    server = serve(OK)
    names = datagrams(lambda asked: [reply(asked, "127.0.0.1")] if len(names.asked) == 2 else [])
    assert fetch(server, names).get("status") == 200


def test_no_name_server_answers(serve, datagrams):
    server = serve(OK)
    names = datagrams(lambda asked: [])
    result = fetch(server, names)
    assert reason(result) == "os" and result["error"][1] == errno.ETIMEDOUT, result
    assert len(names.asked) == 2  # one query for each time limit in dns.ASK_MS


def test_no_such_name(serve, datagrams):
    server = serve(OK)
    for flags in (0x8183, 0x8180):
        names = datagrams(lambda asked: [reply(asked, flags=flags)])
        result = fetch(server, names)
        assert reason(result) == "os" and "no address" in result["error"][2], result
        assert len(names.asked) == 1


def test_truncated_and_long_answers_are_used(serve, datagrams):
    server = serve(OK)
    text = b"\xc0\x0c" + struct.pack(">HHIH", 16, 1, 300, 700) + bytes(700)
    for answer in (
        lambda asked: reply(asked, "127.0.0.1", flags=0x8380),
        lambda asked: reply(asked, "127.0.0.1") + text,
        lambda asked: (
            asked[:2]
            + struct.pack(">HHHHH", 0x8180, 1, 2, 0, 0)
            + asked[12:]
            + text
            + reply(asked, "127.0.0.1")[len(asked) :]
        ),
        lambda asked: reply(asked, "127.0.0.1") + text * 3,
    ):
        names = datagrams(lambda asked: [answer(asked)])
        assert fetch(server, names).get("status") == 200
        assert len(names.asked) == 1


def test_local_names_are_resolved_by_the_port(serve, datagrams):
    """Name servers do not resolve local names. The ESP32's getaddrinfo uses mDNS; here, a replacement has one name."""
    server = serve(OK)
    names = datagrams(lambda asked: [reply(asked, flags=0x8183)])
    for host, expected in (
        ("builder.local", None),
        ("BUILDER.Local", None),
        ("other.local", "os"),
        ("builder.example", "os"),
    ):
        case = {
            "url": "http://%s:%d/" % (host, server.port),
            "names": ["127.0.0.1"],
            "names_port": names.port,
            "mdns": {"builder.local": "127.0.0.1"},
        }
        assert reason(run([case])[0]) == expected, host
    assert len(names.asked) == 1 and len(server.requests) == 2


def test_no_name_servers_without_a_link(serve, datagrams):
    server = serve(OK)
    names = datagrams(lambda asked: [])
    assert reason(fetch(server, names, names=[])) == "os"
    assert not names.asked


def test_addresses_and_localhost_need_no_name_server(serve, datagrams):
    server = serve(OK)
    names = datagrams(lambda asked: [])
    for host in ("127.0.0.1", "localhost", "LOCALHOST"):
        result = one("http://%s:%d/" % (host, server.port), names=["127.0.0.1"], names_port=names.port)
        assert result.get("status") == 200, host
    assert not names.asked
    assert one("http://localhost:%d/" % server.port).get("status") == 200


def test_garbage(serve, datagrams):
    """After random datagrams, and answers with random bytes, the good answer is found, or an OSError is raised."""
    seed = 20240301
    source = random.Random(seed)
    server = serve(OK)

    def answer(asked):
        good = reply(asked, "127.0.0.1")
        corrupted = bytearray(reply(asked, "127.0.0.1", "127.0.0.1"))
        for _ in range(source.randint(1, 6)):
            corrupted[source.randrange(len(corrupted))] = source.randrange(256)
        return [source.randbytes(source.randrange(600)), asked[:2] + source.randbytes(40), bytes(corrupted), good]

    names = datagrams(answer)
    case = {
        "url": "http://board.example:%d/" % server.port,
        "names": ["127.0.0.1"],
        "names_port": names.port,
        "limit_ms": 300,
    }
    for result in run([case] * 60):
        assert reason(result) in (None, "os"), (seed, result)
