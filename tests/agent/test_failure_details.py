"""What a failed update or application tells the cloud: cause of the reset, traceback and last log lines."""

import json

import pytest
from failing_program import FAIL, RUN
from ioto_tools.virtual_board import Cut
from ioto_tools.virtual_board.peers import AsgiServer
from rig import MAIN, Rig, secure

HEAD = (
    """
import asyncio, time
from esp32 import Partition
from ioto import rSignalSync, rWatch

def log(text):  # the agent logs the exception of a watcher
    rSignalSync("log", text)

def shout(data, text):
    raise ValueError(text)

rWatch("log", shout)
head = bytearray(4096)
Partition(Partition.RUNNING).readblocks(0, head)
"""
    + FAIL
)
SLOW = "    rWatch('device:selftest', wait)\n"  # the trial lasts for 10 seconds
RAISES = SLOW + "    await asyncio.sleep(5)\n    raise ValueError('no sensor')\n"
SELFTEST = "    def test(data, arg):\n        raise ValueError('no sensor')\n    rWatch('device:selftest', test)\n"
HANGS = SLOW + "    await asyncio.sleep(5)\n    while True:\n        time.sleep(1)\n"
GROWS = (
    SLOW + "    global big\n    big = []\n    while True:\n        big.append(bytearray(2000))\n        "
    "await asyncio.sleep_ms(10)\n"
)


class Recorder:
    """The cloud; `requests` are the bodies it receives."""

    def __init__(self, app):
        self.app = app
        self.requests = []

    async def __call__(self, scope, receive, send):
        raw = []

        async def received():
            message = await receive()
            raw.append(message.get("body", b""))
            return message

        await self.app(scope, received, send)
        if scope["type"] == "http" and raw and scope["method"] == "POST":
            self.requests.append(json.loads(b"".join(raw)))


def failing(folder, code, image=1, main=RUN, **changes):
    """A rig whose image `image` runs `code`, and the recorder of its cloud."""
    rig = Rig(folder, main=HEAD % (code, image) + main, **{"update__attempts": 1, **changes})
    cloud = Recorder(rig.app)
    rig.air.peers[(rig.air.names["cloud.test"], 443)] = secure(AsgiServer(cloud, "https"))
    return rig, cloud


def reports(cloud):
    return [body for body in cloud.requests if body.get("state") in ("rolled_back", "failed")]


def check_details(body):
    found = body["details"]
    assert len(json.dumps(found)) <= 2048 and set(found) <= {"reset", "trace", "log"}, found
    return found


@pytest.mark.parametrize(
    "code, reason, reset, trace, log",
    [
        (SELFTEST, "selftest_failed", "hard", "in test\nValueError: no sensor\n", "trial: selftest_failed"),
        (RAISES, "rolled_back", "hard", "in fail\nValueError: no sensor\n", "error ValueError: no sensor"),
        (HANGS, "rolled_back", "wdt", None, "boot is trial"),
        (GROWS, "rolled_back", "hard", "MemoryError: memory allocation failed", "error MemoryError"),
    ],
    ids=["selftest", "raises", "hangs", "grows"],
)
def test_report_of_a_rollback_says_why(tmp_path, code, reason, reset, trace, log):
    rig, cloud = failing(tmp_path, code)
    rig.publish(rig.image(1), "1.0.1")
    run = rig.run(until_s=3000)
    assert run.slots == ["ota_0", "ota_1", "ota_0"], run.console[-2000:]
    assert [(r["state"], r["reason"]) for r in reports(cloud)] == [("rolled_back", reason), ("failed", reason)]
    for body in reports(cloud):
        found = check_details(body)
        assert found["reset"] == reset and log in found["log"], found
        assert (trace is None) == ("trace" not in found) and (trace or "") in found.get("trace", ""), found
    assert rig.board.hardware.rtc_memory == b""
    assert not [body for body in cloud.requests if "failure" in body]


@pytest.mark.sweep
def test_diary_of_a_confirmed_image_is_removed(tmp_path):
    rig, cloud = failing(tmp_path, "    pass\n", update__period=60)
    rig.publish(rig.image(1), "1.0.1")
    run = rig.run(until_s=3000)
    assert "CONFIRMED" in run.console and rig.board.hardware.rtc_memory == b"" and not reports(cloud)
    assert not [body for body in cloud.requests if "failure" in body]


@pytest.mark.parametrize("kept", [b"mine", b"io", b"\xff" * 2048])
def test_rtc_memory_of_the_application_is_left_alone(tmp_path, kept):
    main = "import machine\nmachine.RTC().memory(%r)\n" % kept
    rig, cloud = failing(tmp_path, SELFTEST, main=main + RUN)
    rig.publish(rig.image(1), "1.0.1")
    rig.run(until_s=3000)
    assert rig.board.hardware.rtc_memory == kept
    assert [sorted(check_details(body)) for body in reports(cloud)] == [["reset", "trace"]] * 2


def test_application_may_take_the_rtc_memory_during_a_trial(tmp_path):
    code = "    import machine\n    machine.RTC().memory(b'mine')\n" + RAISES
    rig, cloud = failing(tmp_path, code)
    rig.publish(rig.image(1), "1.0.1")
    rig.run(until_s=3000)
    assert rig.board.hardware.rtc_memory == b"mine" and "log" not in check_details(reports(cloud)[0])


def test_power_cut_loses_the_diary_only(tmp_path):
    rig, cloud = failing(tmp_path, HANGS)
    rig.publish(rig.image(1), "1.0.1")
    rig.run(until_s=600, max_boots=1)
    assert rig.run(until_s=5).ended == "time"
    rig.run(until_s=3000)
    assert check_details(reports(cloud)[0]) == {"reset": "power"}


def test_agent_that_rolls_back_itself_reports_the_first_reset(tmp_path):
    """The bootloader does not roll back: the watchdog starts the new image again, which then resets the board."""
    rig, cloud = failing(tmp_path, HANGS)
    rig.publish(rig.image(1), "1.0.1")
    rig.run(until_s=600, max_boots=1)
    rig.board.set_otadata("1/UNDEFINED 2/UNDEFINED")
    rig.run(until_s=3000, cause=2)
    found = check_details(reports(cloud)[0])
    assert found["reset"] == "wdt" and found["log"].count("boot is trial") == 2, found


SECRETS = """
    await asyncio.sleep(5)
    import json
    kept = json.load(open('state/provision.json'))
    log('token %s' % kept['token'])
    log('password %s' % 'secret-of-wifi')
    log('GET https://cloud.test/image/1?signature=abcdef for PRODUCT7')
    raise ValueError('%s %r %s' % ('x' * %d, kept, open('ioto.json').read()))
"""


@pytest.mark.sweep
@pytest.mark.parametrize("fill", [0, 700, 900])
def test_no_secret_is_in_the_report(tmp_path, fill):
    """No secret is sent, wherever the traceback is shortened."""
    rig, cloud = failing(
        tmp_path,
        SLOW + SECRETS.replace("%d", str(fill)),
        air={"wifi": {"net": "secret-of-wifi"}},
        wifi={"ssid": "net", "password": "secret-of-wifi"},
        network__dns="",
    )
    rig.publish(rig.image(1), "1.0.1")
    rig.run(until_s=3000)
    token = json.loads(rig.board.files()["state/provision.json"])["token"]
    for body in reports(cloud):
        found = check_details(body)
        assert "token ***" in found["log"] and "image/1?*** for ***" in found["log"] and "***" in found["trace"], found
        for secret in (token[:8], token[-8:], "secret-of", "of-wifi", "PRODUCT7", "abcdef"):
            assert secret not in json.dumps(found), secret
    kept = rig.board.files()["state/traceback"] + rig.board.files()["state/details"]
    assert token[:8].encode() not in kept and b"secret-of-wifi" not in kept


@pytest.mark.parametrize("letter", ["x", "\u00fc", "\u20ac", '"', "\\\\", "\\0", "\\n"])
def test_details_are_short_whatever_they_contain(tmp_path, letter):
    code = SLOW + "    await asyncio.sleep(5)\n    for n in range(9):\n        log('%s' * 250)\n" % letter
    rig, cloud = failing(tmp_path, code + "    raise ValueError('%s' * 3000 + 'the end')\n" % letter)
    rig.publish(rig.image(1), "1.0.1")
    rig.run(until_s=3000)
    for body in reports(cloud):
        found = check_details(body)
        assert "log" in found or letter in ("\u00fc", "\\0"), found  # 12 and 6 bytes of JSON each
        assert found["trace"].startswith("Traceback") and found["trace"].endswith("the end\n"), found


# ---- failures outside of a trial


def failures(cloud):
    return [body["failure"] for body in cloud.requests if "failure" in body]


def test_traceback_of_the_application_is_in_the_next_check_in_once(tmp_path):
    rig, cloud = failing(tmp_path, "    await asyncio.sleep(5)\n    raise ValueError('no sensor')\n", image=0)
    rig.run(until_s=4)
    cloud.requests.clear()
    peer = rig.air.peers.pop((rig.air.names["cloud.test"], 443))
    rig.run(until_s=8)  # it fails, and the cloud does not answer
    rig.air.peers[(rig.air.names["cloud.test"], 443)] = peer
    assert not failures(cloud)
    rig.board.write_files({"main.py": MAIN.encode()})
    rig.run(until_s=9000)
    (found,) = failures(cloud)
    assert found["reset"] == "hard" and "in fail\nValueError: no sensor\n" in found["trace"], found
    rig.run(until_s=9000)
    assert len(failures(cloud)) == 1


def test_safe_mode_reports_a_failure_once(tmp_path):
    rig, cloud = failing(tmp_path, "    pass\n", main="import machine\nmachine.reset()\n")
    rig.run(until_s=3000)
    assert failures(cloud) == [{"reset": "hard"}], cloud.requests


def test_safe_mode_reports_the_traceback(tmp_path):
    rig, cloud = failing(tmp_path, "    raise ValueError('no sensor')\n", image=0)
    rig.run(until_s=3000)
    assert len(failures(cloud)) == 1 and "no sensor" in failures(cloud)[0]["trace"], cloud.requests


# ---- the update's outcome does not depend on the details


def outcome(rig, cloud):
    run = rig.run(until_s=4000)
    assert run.slots[-1] == "ota_0" and rig.record()["failed"] and not rig.record()["reports"], run.console[-1500:]
    assert [(r["state"], r["reason"]) for r in reports(cloud)][-1] == ("failed", "selftest_failed")
    return run


def after_the_trial(folder, **changes):
    rig, cloud = failing(folder, SELFTEST, **changes)
    rig.publish(rig.image(1), "1.0.1")
    assert rig.run(until_s=600, max_boots=2).slots == ["ota_0", "ota_1"]
    return rig, cloud


@pytest.mark.parametrize("at", [0, 5, 6, 60, pytest.param(range(1, 200, 7), marks=pytest.mark.sweep)])
def test_damaged_diary(tmp_path, at):
    for n in [at] if isinstance(at, int) else at:
        rig, cloud = after_the_trial(tmp_path / str(n))
        raw = bytearray(rig.board.hardware.rtc_memory)
        raw[n % len(raw)] ^= 0x81
        rig.board.hardware.rtc_memory = bytes(raw)
        rig.run(until_s=0.2, cause=2)
        outcome(rig, cloud)
        for body in reports(cloud):
            check_details(body)
        rig.board.close()
        rig.site.close()


@pytest.mark.parametrize("raw", [b"", b"[]", b"\xff" * 3000, b"{" * 500])
def test_damaged_files(tmp_path, raw):
    rig, cloud = after_the_trial(tmp_path)
    rig.board.write_files({"state/traceback": raw})
    peer = rig.air.peers.pop((rig.air.names["cloud.test"], 443))
    rig.run(until_s=20, cause=2)
    rig.air.peers[(rig.air.names["cloud.test"], 443)] = peer
    rig.board.write_files({"state/details": raw})
    outcome(rig, cloud)
    assert not any("details" in body for body in reports(cloud))


def test_details_with_one_wrong_byte_are_not_sent(tmp_path):
    rig, cloud = after_the_trial(tmp_path)
    peer = rig.air.peers.pop((rig.air.names["cloud.test"], 443))
    rig.run(until_s=20, cause=2)
    rig.air.peers[(rig.air.names["cloud.test"], 443)] = peer
    raw = rig.board.files()["state/details"]
    rig.board.write_files({"state/details": raw.replace(b"no sensor", b"no Sensor", 1)})
    outcome(rig, cloud)
    assert not any("details" in body for body in reports(cloud))


@pytest.mark.sweep
def test_full_file_system(tmp_path):
    rig, cloud = after_the_trial(tmp_path)
    size = 4 << 20
    while size > 64:
        size //= 2
        try:
            while True:
                rig.board.write_files({"full/%d.%d" % (size, len(rig.board.files())): bytes(size)})
        except Exception:
            pass
    with pytest.raises(Exception, match="space|NoSpace|-28"):
        rig.board.write_files({"more": bytes(5000)})
    outcome(rig, cloud)
    assert all(check_details(body)["trace"] for body in reports(cloud))


def cut_while_storing(folder, op, when):
    rig, cloud = after_the_trial(folder)
    cut = rig.run(until_s=30, cause=2, cut=Cut(op, when))
    outcome(rig, cloud)
    assert rig.board.read_slot("ota_0") == rig.first
    for body in reports(cloud):
        assert "details" not in body or check_details(body)
    rig.board.close()
    rig.site.close()
    return cut.ended


@pytest.mark.parametrize("op", [3, 6, 9])
def test_power_cut_while_details_are_stored(tmp_path, op):
    assert cut_while_storing(tmp_path / "rig", op, "during") == "cut"


@pytest.mark.sweep
@pytest.mark.parametrize("when", ["during", "after"])
def test_power_cut_at_every_operation_while_details_are_stored(tmp_path, when):
    rig, _ = after_the_trial(tmp_path / "clean")
    n = len(rig.run(until_s=30, cause=2).trace.ops)
    assert n > 5
    for op in range(n):
        assert cut_while_storing(tmp_path / str(op), op, when) == "cut", op
