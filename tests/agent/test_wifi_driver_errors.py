"""A Wi-Fi driver that raises exceptions: they reset the board only after an hour, and the update completes."""

import pytest
from ioto_tools.virtual_board.board import HARD
from rig import Rig

ERRORS = [
    RuntimeError("Wifi Unknown Error 0x0101"),  # ESP_ERR_NO_MEM
    OSError("Wifi Internal Error"),
    MemoryError("memory allocation failed, allocating 1024 bytes"),
]
CALLS = ["WLAN", "active", "connect", "disconnect", "isconnected", "status", "ifconfig"]


def board(folder, **radio):
    made = Rig(
        folder,
        blocks=2,
        air={"wifi": {"net": "secret"}, "radio": radio},
        wifi={"ssid": "net", "password": "secret"},
        network__dns="",
    )
    made.publish(made.image(1), "1.0.1")
    return made


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("call", CALLS)
def test_exception_of_a_driver_call_does_not_stop_the_update(tmp_path, call, error):
    """The exception is raised at the first calls, and at some later ones."""
    made = board(tmp_path, **{call: [error, error, None, error] + [None] * 20 + [error] * 2})
    run = made.run(stop=lambda line: "CONFIRMED" in line)
    assert "CONFIRMED 1.0.1" in run.console and run.slots == ["ota_0", "ota_1"], run.console
    assert "Traceback" not in run.console
    left = len(made.air.radio[call])
    assert left < 26, "never raised"


def test_exception_of_the_driver_is_logged(tmp_path):
    made = board(tmp_path, WLAN=[ERRORS[0]] * 8)
    run = made.run(stop=lambda line: "CONFIRMED" in line)
    assert "0x0101" in run.console and "CONFIRMED 1.0.1" in run.console


@pytest.mark.sweep
@pytest.mark.parametrize("call", ["WLAN", "active", "connect"])
def test_board_is_reset_if_the_driver_does_not_recover(tmp_path, call):
    """The reset comes after an hour, not sooner, because an application may work without a link."""
    made = board(tmp_path, **{call: [ERRORS[0]] * 1000})
    run = made.run(max_boots=1, until_s=5000)
    assert run.ended == "boots" and 3600 < made.board.clock.now_us / 1e6 < 4000
    made.air.radio.clear()
    run = made.run(cause=HARD, stop=lambda line: "CONFIRMED" in line)
    assert "CONFIRMED 1.0.1" in run.console and run.slots == ["ota_0", "ota_1"]
