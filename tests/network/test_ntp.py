"""The time from an NTP server: every field that is checked, and replies that are refused."""

import errno
import struct

from ioto import BUILT
from loopback import reason, run

NOW_S = 1_800_000_000
TO_1970_S = 2208988800


def reply(asked, first=0x24, stratum=2, name=b"LOCL", seconds=NOW_S + TO_1970_S, echo=None):
    head = struct.pack(">BBbbII4s", first, stratum, 6, -20, 0, 0, name)
    return (
        head
        + bytes(8)
        + (asked[40:48] if echo is None else echo)
        + bytes(8)
        + struct.pack(">II", seconds & 0xFFFFFFFF, 0)
    )


FIRST = range(256)


def times(datagrams, answers, **case):
    """Return a result for each answer: a function that returns a list of datagrams for a request."""
    servers = [datagrams(answer) for answer in answers]
    cases = [dict({"url": "127.0.0.1", "ntp": server.port, "limit_ms": 200}, **case) for server in servers]
    return run(cases)


def test_valid_replies_give_the_time(datagrams):
    good = [
        lambda asked: [reply(asked)],
        lambda asked: [reply(asked, first=0x1C)],
        lambda asked: [reply(asked, stratum=15)],
        lambda asked: [reply(asked, first=0x64)],
        lambda asked: [reply(asked) + bytes(20)],
    ]
    assert [r.get("time") for r in times(datagrams, good)] == [NOW_S] * len(good)


def test_requests_are_48_bytes_with_a_random_timestamp(datagrams):
    server = datagrams(lambda asked: [reply(asked)])
    run([{"url": "localhost", "ntp": server.port}] * 20)
    assert {(len(asked), asked[:40]) for asked in server.asked} == {(48, b"\x23" + bytes(39))}
    assert len({asked[40:] for asked in server.asked}) == 20


def test_every_year_until_2100(datagrams):
    """Times are accepted from the agent's build until 2100, beyond the end of NTP's first era in 2036."""
    first, last = BUILT, 4102444800
    for seconds in (first, 2**31, 2085978495, 2085978496, last - 1):
        (result,) = times(datagrams, [lambda asked: [reply(asked, seconds=seconds + TO_1970_S)]])
        assert result.get("time") == seconds, (seconds, result)
    # Earlier times are read as times of the next era, after 2100, and refused.
    for seconds in (first - 1, 946684800):
        (result,) = times(datagrams, [lambda asked: [reply(asked, seconds=seconds + TO_1970_S)]])
        assert reason(result) == "os", (seconds, result)


def test_every_first_byte(datagrams):
    """Only mode 4 is a server's answer; leap 3 means that the server does not know the time."""
    answers = [
        lambda asked, first=first: [reply(asked, first=first), reply(asked, seconds=NOW_S + 5 + TO_1970_S)]
        for first in FIRST
    ]
    for first, result in zip(FIRST, times(datagrams, answers)):
        expected = NOW_S + 5 if first & 7 != 4 else NOW_S if first < 192 else None
        assert result.get("time") == expected, (first, result)


def test_servers_without_the_time_are_refused(datagrams):
    results = times(datagrams, [lambda asked, n=n: [reply(asked, stratum=n, name=b"RATE")] for n in (0, 16, 255)])
    assert [reason(r) for r in results] == ["os"] * 3
    assert "RATE" in results[0]["error"][2]


def test_invalid_replies_are_ignored(datagrams):
    """An invalid reply is too short, or does not contain the random timestamp of the request."""
    bad = [
        lambda asked: [reply(asked)[:47]],
        lambda asked: [reply(asked, echo=bytes(8))],
        lambda asked: [asked],
        lambda asked: [b""],
        lambda asked: [],
        lambda asked: [bytes(600)],
    ]
    for result in times(datagrams, bad):
        assert reason(result) == "os" and result["error"][1] == errno.ETIMEDOUT, result
    behind = [lambda asked, one=one: one(asked) + [reply(asked)] for one in bad]
    assert [r.get("time") for r in times(datagrams, behind)] == [NOW_S] * len(bad)
