"""What is read from the details of a failure and from a board's health; by which cause failures are grouped."""

import itertools
import json

import pytest
from ioto_tools.cloud.rules import board_health, failure_cause, failure_details
from ioto_tools.cloud.rules.failure_details import BYTES, FailureDetails

TOKEN = "q3uXk8Vw5rT1yZ0aB2cD4eF6gH8iJ0kL2mN4oP6qR8s"
JUNK = (None, True, 0, -1, 1.5, "", "x", "\0", "\ud800", [], ["a"], {}, {"a": 1}, 10**30)


def test_details_within_the_limit_are_kept_as_they_are():
    trace = 'Traceback (most recent call last):\n  File "main.py", line 3, in <module>\nValueError: gr\u00fcn\n'
    for size in range(0, BYTES - len(trace.encode()) - 60, 97):
        sent = {"reset": "wdt", "trace": trace, "log": "y" * size}
        assert len(json.dumps(sent, ensure_ascii=False).encode()) <= BYTES
        assert failure_details.read(sent, TOKEN) == FailureDetails("wdt", trace.strip("\n"), "y" * size)


def test_longer_details_are_shortened_to_their_ends():
    for trace, log in itertools.product((0, 100, 1536, 2000, 2048, 2049, 16000), repeat=2):
        read = failure_details.read({"trace": "t" * trace + "T", "log": "\u00e9" * log + "L"}, TOKEN)
        assert len(read.trace.encode()) + len(read.log.encode()) <= BYTES
        assert read.trace.endswith("T") and read.log.endswith("L")
        assert read.trace.startswith("...") == (trace > 1535) or log + trace > 1000
        assert len(read.log.encode()) >= min(512 - 1, 2 * log)


def test_any_value_is_read():
    for value in JUNK:
        assert failure_details.read(value, TOKEN) == failure_details.NONE
        for name in ("reset", "trace", "log"):
            assert isinstance(failure_details.read({name: value}, TOKEN), FailureDetails)
    assert not any(failure_details.is_failure(value) for value in JUNK)
    assert failure_details.read({"reset": "panic"}, TOKEN).reset == "other"


def test_characters_that_a_terminal_obeys_are_replaced():
    for code in (*range(32), 127, 0x9B, 0x202E, 0x2028, 0xD800, 0xDFFF, 0xFEFF, 0xE000):
        read = failure_details.read({"log": "a%sb" % chr(code)}, TOKEN)
        assert read.log == "a%sb" % {"\n": "\n", "\t": "\t", "\r": "\n"}.get(chr(code), "?")
    assert failure_details.read({"log": "a\r\nb"}, TOKEN).log == "a\nb"


@pytest.mark.parametrize(
    "text",
    [
        TOKEN,
        "Authorization: bearer %s" % TOKEN,
        "authorization: Bearer %s\r\n" % TOKEN[::-1],
        "{'token': '%s'}" % TOKEN[::-1],
        '{"api":"x","token":"%s","a":1}' % TOKEN[::-1],
        "token=%s" % TOKEN[::-1],
        "x" * 1400 + TOKEN + "y" * 600,
    ],
)
def test_no_token_is_stored(text):
    for name in ("trace", "log"):
        read = failure_details.read({name: text}, TOKEN)
        for part in (TOKEN, TOKEN[::-1]):
            assert part[8:-8] not in read.trace + read.log
        assert failure_details.HIDDEN in read.trace + read.log
    assert failure_details.read({"log": "SyntaxError: token: missing"}, TOKEN).log == "SyntaxError: token: missing"


HEAD = "Traceback (most recent call last):\n"
FRAMES = '  File "main.py", line 20, in <module>\n  File "/lib/sensor.py", line 7, in read\n'


@pytest.mark.parametrize(
    "trace,cause",
    [
        (HEAD + FRAMES + "ValueError: no", "ValueError: no, sensor.py:7 in read"),
        (HEAD + FRAMES + "ValueError: no\nmore of it", "ValueError: no, sensor.py:7 in read"),
        (HEAD + '  File "main.py", line 3, in <module>\nKeyError: x', "KeyError: x, main.py:3"),
        (HEAD + '  File "a.py", line 3\nSyntaxError: invalid syntax', "SyntaxError: invalid syntax, a.py:3"),
        (HEAD + '  File "a.py", line 3, in f\n    g(1)\nE: 1', "E: #, a.py:3 in f"),
        (HEAD + FRAMES, "sensor.py:7 in read"),
        (HEAD + FRAMES + "MemoryError: memory allocation failed, allocating 4096 bytes",
         "MemoryError: memory allocation failed, allocating # bytes, sensor.py:7 in read"),
        ("OSError: 28", "OSError: 28"),
        ("OSError: [Errno 5] EIO at 0x3ffb1230", "OSError: [Errno 5] EIO at #"),
        ("OSError: (-30592, 'MBEDTLS_ERR_SSL_FATAL')", "OSError: (-30592, 'MBEDTLS_ERR_SSL_FATAL')"),
        ("TypeError: <Foo object at 3ffe0a30> of K7WQ2M9XRA", "TypeError: <Foo object at #> of #"),
        ("ValueError: aa:bb:cc:dd:ee:ff, 10.0.0.17 at 21.5 degrees, i2c", "ValueError: #, # at # degrees, i#c"),
        ("\n \n", ""),
        ("only a text", "only a text"),
    ],
)  # fmt: skip
def test_causes(trace, cause):
    assert failure_cause.of(FailureDetails(trace=trace)) == cause


def test_the_cause_without_a_traceback():
    assert failure_cause.of(FailureDetails(reset="wdt")) == "reset: wdt"
    assert failure_cause.of(FailureDetails(reset="wdt", log="x"), "no sensor at 0x17") == "no sensor at #x#"
    assert failure_cause.of(failure_details.NONE) == ""


def test_the_cause_of_a_malicious_traceback_is_short_and_found_at_once():
    for text in (
        "a" * 2048,
        "a1" * 1024,
        "File " * 400,
        '  File "',
        "aa:" * 600,
        "\n" * 2000,
        " " * 2048,
        "_" * 2047 + "!",
    ):
        for trace in (text, HEAD + FRAMES + text, HEAD + '  File "%s", line 1, in %s\nE' % (text[:900], text[:900])):
            assert len(failure_cause.of(FailureDetails(trace=trace, reset=""), text)) <= failure_cause.LENGTH


# ---- health


def test_health_of_a_board():
    sent = {
        "up": 7200,
        "health": {
            "free": 81232, "least": 60000, "fs": 900000, "rssi": -61, "resets": {"wdt": 2, "soft": 0, "power": 1},
            "app": {"temperature": 21.5, "queue": 3},
        },
    }  # fmt: skip
    assert board_health.read(sent) == {
        "up": 7200, "free": 81232, "least": 60000, "fs": 900000, "rssi": -61, "resets": {"power": 1, "wdt": 2},
        "app": {"temperature": 21.5, "queue": 3},
    }  # fmt: skip


def test_invalid_parts_of_the_health_are_left_out():
    for junk in JUNK:
        assert board_health.read({"health": junk, "up": "5"}) == {}
        for name in ("least", "fs", "resets", "app"):
            found = board_health.read({"health": {"free": 5, name: junk}})
            assert found.pop("free") == 5 and (found == {} or junk == 0 or (name, junk) == ("app", {"a": 1})), junk
        assert board_health.read({"health": {"resets": {"wdt": junk}}}) == {}
        assert board_health.read({"health": {"app": {"\0": 1, "": 1, "x" * 65: 1, "\ud800": 1}}}) == {}
    assert board_health.read({"health": {"rssi": -201}}) == board_health.read({"health": {"free": -1}}) == {}
    assert len(board_health.read({"health": {"app": {"n%d" % n: n for n in range(20)}}})["app"]) == 8
