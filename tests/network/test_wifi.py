"""The Wi-Fi link with a simulated radio: joins, losses, wrong passwords, drivers that raise errors."""

import errno
import json
import subprocess

from loopback import HERE, LIB, MICROPYTHON

GOT_IP, NOT_FOUND, WRONG_PASSWORD, HANDSHAKE = 1010, 201, 202, 204


def live(script, up_ms=2000, run_ms=2000, raises=False):
    """The result of run_wifi.py; an entry of `script` is (status, ms until it, ms until the link is lost or None)."""
    case = {"script": script, "up_ms": up_ms, "run_ms": run_ms, "raises": raises}
    done = subprocess.run(
        [MICROPYTHON, str(HERE / "run_wifi.py"), str(LIB), str(HERE / "fake_radio")],
        input=json.dumps(case),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_joining_the_network():
    result = live([(GOT_IP, 50, None)], run_ms=100)
    assert result["events"] == [[True, ""]] and result["up"] is None
    assert result["calls"] == ["on", "connect"]
    assert (result["before"], result["servers up"], result["servers"]) == ([], ["10.0.0.53"], ["10.0.0.53"])


def test_rejoining_after_a_loss():
    result = live([(GOT_IP, 20, 60), (GOT_IP, 20, 60), (GOT_IP, 20, None)], run_ms=600)
    assert result["events"] == [[True, ""], [False, "lost"], [True, ""], [False, "lost"], [True, ""]]
    # connect() is never called while the driver reconnects by itself: it would raise, and the radio would be reset.
    assert result["calls"] == ["on", "connect"] * 3


def test_a_finished_link_task_is_restarted():
    """The task ended with a MemoryError; then the link is lost, and up() is called."""
    assert live([(GOT_IP, 20, 60), (GOT_IP, 20, None)], run_ms=200, raises=True)["events"][-1] == [True, ""]


def test_no_servers_after_a_loss():
    """ifconfig() keeps the old values, which are not used."""
    result = live([(GOT_IP, 20, 500), (None, 0, None)], run_ms=800)
    assert result["events"][-1] == [False, "lost"] and result["servers"] == []


def test_the_error_names_the_driver_status():
    for status, words in (
        (NOT_FOUND, "no ap found"),
        (WRONG_PASSWORD, "wrong password"),
        (HANDSHAKE, "handshake timeout"),
        (299, "status 299"),
    ):
        result = live([(status, 20, None)] * 20, up_ms=150, run_ms=0)
        number, text = result["up"]
        assert number == errno.ETIMEDOUT and words in text and "home" in text, result
        assert result["events"] == []


def test_joining_is_retried_until_it_succeeds():
    result = live(
        [(NOT_FOUND, 10, None), (WRONG_PASSWORD, 10, None), (HANDSHAKE, 10, None), (GOT_IP, 10, None)], run_ms=100
    )
    assert result["up"] is None and result["events"] == [[True, ""]]
    # After three failures in a row the radio is switched off and on again.
    assert result["calls"] == ["on", "connect"] * 3 + ["off", "on", "connect"]


def test_a_driver_that_never_reports_a_result():
    result = live([(None, 0, None), (GOT_IP, 10, None)], up_ms=3000, run_ms=100)
    assert result["up"] is None and result["calls"].count("connect") == 2


def test_a_driver_that_raises_errors():
    """An error of connect() counts as a failed attempt: the driver's text is reported, and connect() is retried."""
    result = live(["Wifi Internal Error"] * 20, up_ms=100, run_ms=0)
    assert "Wifi Internal Error" in result["up"][1], result
    result = live(["Wifi Internal Error", (GOT_IP, 10, None)], run_ms=100)
    assert result["up"] is None and result["events"] == [[True, ""]]
