"""The object `health` of a check-in: heap, file system, Wi-Fi, starts by cause, and the application's own numbers."""

import pytest
from ioto_tools.cloud.operators import overview
from rig import MAIN, Rig

WIFI = {"air": {"wifi": {"net": "secret"}}, "wifi": {"ssid": "net", "password": "secret"}}


def health(rig):
    """The health in the last check-in."""
    return overview.device(rig.site, "DEVICE0001")["properties"]["health"]


def test_first_check_in_tells_the_state_of_the_board(tmp_path):
    rig = Rig(tmp_path, **WIFI)
    rig.run(until_s=60)
    found = health(rig)
    assert sorted(found) == ["free", "fs", "least", "resets", "rssi"]
    assert 0 < found["least"] <= found["free"] < 200_000 and found["rssi"] == -60
    vfs = rig.board.partition("vfs").size
    assert vfs / 2 < found["fs"] < vfs and found["resets"] == {"power": 1}


def test_without_wifi_of_the_agent_there_is_no_rssi(tmp_path):
    rig = Rig(tmp_path)
    rig.run(until_s=60)
    assert "rssi" not in health(rig)


STARTS = """
import machine, time
n = 0
try:
    n = len(open("n").read())
except OSError:
    pass
with open("n", "w") as f:
    f.write("x" * (n + 1))
if n < 5:
    (machine.reset, machine.soft_reset, lambda: machine.deepsleep(1000), lambda: machine.WDT(timeout=1000), int)[n]()
    time.sleep(60)
"""


def test_starts_are_counted_by_cause_until_a_check_in_is_answered(tmp_path):
    rig = Rig(tmp_path, main=STARTS + MAIN, update__period=100)
    address = rig.air.names["cloud.test"]
    cloud = rig.air.peers.pop((address, 443))
    rig.run(until_s=400)
    rig.air.peers[(address, 443)] = cloud
    rig.run(until_s=60, cause=2)
    assert health(rig)["resets"] == {"power": 1, "hard": 2, "soft": 1, "wdt": 1}
    rig.run(until_s=400, cause=2)
    assert health(rig)["resets"] == {}


def test_reset_that_the_agent_intends_is_not_counted(tmp_path):
    rig = Rig(tmp_path)
    rig.run(until_s=60)
    rig.publish(rig.image(1), "1.0.1")
    run = rig.run(until_s=4000, stop=lambda line: "CONFIRMED" in line, cause=2)
    assert run.slots == ["ota_0", "ota_1"] and health(rig)["resets"] == {}, health(rig)


def test_boot_without_the_application_is_not_counted(tmp_path):
    rig = Rig(tmp_path, update__alone="always", update__period=300)
    rig.run(until_s=1000)
    assert health(rig)["resets"] == {}, health(rig)


def test_board_with_an_older_boot_py_does_not_tell_its_starts(tmp_path):
    rig = Rig(tmp_path)
    old = rig.board.files()["boot.py"].replace(b"    count_start(nvs", b"    int and (nvs")
    rig.board.write_files({"boot.py": old})
    rig.run(until_s=60)
    assert "resets" not in health(rig)


APP = """
def fill(data, health):
%s
rWatch("device:health", fill)
asyncio.run("""


@pytest.mark.parametrize(
    "code, expected, refused",
    [
        ("health.update(temperature=21, volts=3.5)", {"temperature": 21, "volts": 3.5}, 0),
        ("health['n' * 16] = 1; health['n' * 17] = 2", {"n" * 16: 1}, 1),
        ("health.update(text='x', none=None, yes=True, nan=float('nan'), inf=float('inf'), big=1 << 70)", {}, 6),
        ("health[1] = 1; health[''] = 1; health[b'x'] = 1", {}, 3),
        ("health.update([('n%d' % n, n) for n in range(9)])", None, 1),
        ("health['n'] = 1; raise ValueError", {"n": 1}, 0),
    ],
)
def test_numbers_of_the_application(tmp_path, code, expected, refused):
    rig = Rig(tmp_path, main=MAIN.replace("asyncio.run(", APP % ("    " + code)))
    run = rig.run(until_s=60)
    found = health(rig).get("app", {})
    assert found == expected if expected is not None else len(found) == 8
    assert run.console.count("is not sent: at most 8 numbers, names of 1 to 16 characters") == refused, run.console


def test_least_is_the_smallest_free_heap_since_the_start(tmp_path):
    """The application frees its memory after the first check-in."""
    main = MAIN.replace(
        "asyncio.run(",
        "big = [bytearray(30000)]\nrWatch('cloud:connected', lambda data, arg: big.clear())\nasyncio.run(",
    )
    rig = Rig(tmp_path, main=main, update__period=60)
    rig.run(until_s=150)
    found = health(rig)
    assert found["free"] - found["least"] > 20_000, found
