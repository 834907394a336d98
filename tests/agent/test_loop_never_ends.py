"""The agent's loop never ends: otherwise the board would never check in again."""

import json

import pytest
from faulty_cloud import FAULTY_S, FaultyCloud, board, check_refused, restore_cloud
from ioto.recall import empty
from ioto.record import encode
from ioto_tools.virtual_board.peers import http_response
from rig import MAIN, Rig


def check_updated(rig, **limits):
    run = rig.run(**limits)
    assert run.slots[-1] == "ota_1" and "CONFIRMED" in run.console, run.console[-1500:]
    return run


@pytest.mark.parametrize("body", [b"\xff\xfe\xfd", b"Nicht verf\xfcgbar", b'{"error": "\xff"}'])
def test_error_reply_that_is_not_utf_8(tmp_path, body):
    """A proxy sends the error in Latin-1."""
    check_refused(tmp_path, FaultyCloud([http_response(body, 502)]), "http_status")


class Registrar(FaultyCloud):
    """Answers a registration with unusable values."""

    def __init__(self, changes):
        super().__init__({})
        self.changes = changes

    def answer(self, method, path, headers, body):
        if path.endswith("/register"):
            return [
                http_response(
                    json.dumps({"api": "https://cloud.test", "token": "T", "registered": True, **self.changes}).encode()
                )
            ]
        return super().answer(method, path, headers, body)


BAD = [
    {"api": 5},
    {"api": ["https://cloud.test"]},
    {"api": "cloud.test"},
    {"token": 7},
    {"token": ["x"]},
    {"token": "a\r\nX: y"},
    {"token": "x" * 207},
    {"token": None},
]


@pytest.mark.sweep
@pytest.mark.parametrize("changes", BAD)
def test_unusable_registration_is_not_stored(tmp_path, changes):
    """A stored registration is kept until the cloud refuses it.

    A device that had stored an unusable registration could never reach a cloud that refuses it.
    """
    rig = board(tmp_path, Registrar(changes))
    run = rig.run(until_s=FAULTY_S)
    assert (
        "Traceback" not in run.console
        and "check-in" in run.console
        or "malformed" in run.console
        or "url_invalid" in run.console
    ), run.console
    restore_cloud(rig)
    check_updated(rig, until_s=4 * 3600)


@pytest.mark.parametrize("phase", ["verifying", None, 5])
def test_record_with_unknown_phase_is_replaced(tmp_path, phase):
    """The record was written by the agent of another image, which was rolled back, and has an unknown phase."""
    rig = Rig(tmp_path)
    rig.board.write_files({"state/record.0": encode(4, dict(empty(), phase=phase, update={"update": "x"}))})
    rig.publish(rig.image(1), "1.0.1")
    assert "error record_damaged" in check_updated(rig, until_s=4000).console


def test_invalid_staged_update_is_dropped(tmp_path):
    rig = Rig(tmp_path)
    update = {"update": "x", "version": "1.0.1", "checksum": "ab" * 32, "slot": "ota_1"}
    rig.board.write_files({"state/record.0": encode(4, dict(empty(), phase="staged", update=update, head="no hex"))})
    rig.publish(rig.image(1), "1.0.1")
    assert "error staged:" in check_updated(rig, until_s=4000).console


def test_exception_in_the_log_listener_is_ignored(tmp_path):
    """The listener writes to a file, but the file system is full."""
    raises = (
        "def listen(level, message):\n    print(level, message)\n    raise "
        "OSError(28)\n\nasyncio.run(agent(listener=listen).run())\n"
    )
    rig = Rig(tmp_path, main=MAIN[: MAIN.index("asyncio.run")] + raises)
    rig.publish(rig.image(1), "1.0.1")
    check_updated(rig, until_s=4000)


HOG = """
from esp32 import Partition
made = agent(listener=lambda level, message: print(level, message))
hog = [None]

async def greedy():
    try:
        while Partition(Partition.RUNNING).info()[4] == "ota_0":
            hog[0] = hog[0], bytearray(2048)  # a list would grow by half of itself
    except MemoryError:
        pass
    await asyncio.sleep(900)
    hog[0] = None

async def both():
    task = asyncio.create_task(greedy())
    await made.run()

asyncio.run(both())
"""


@pytest.mark.parametrize("alone", ["never", "needed"])
def test_update_completes_after_a_while_without_memory(tmp_path, alone):
    """The application uses the whole heap, and frees it after a quarter of an hour."""
    rig = Rig(tmp_path, main=MAIN[: MAIN.index("asyncio.run")] + HOG, update__alone=alone)
    rig.publish(rig.image(1), "1.0.1")
    run = check_updated(rig, until_s=4000)
    assert "MemoryError" in run.console and (run.boots[1].at_s > 900) == (alone == "never"), run.console


WIFI = {"wifi": {"ssid": "net", "password": "secret"}, "network__dns": ""}


@pytest.mark.sweep
def test_wifi_link_that_only_looks_connected_is_renewed(tmp_path):
    """No name server, NTP server or cloud answers until the board has left the network and joined it again."""
    rig = Rig(tmp_path, air={"wifi": {"net": "secret"}, "dead_s": 60}, **WIFI)
    rig.run(until_s=50)
    rig.publish(rig.image(1), "1.0.1")
    check_updated(rig, until_s=4 * 3600)


@pytest.mark.sweep  # simulates ten days
@pytest.mark.parametrize("header", ["9" * 10, None])
def test_report_is_held_for_a_week_at_most(tmp_path, header):
    """The reply to a report asks for a wait of centuries."""
    said = [
        http_response(b"{}" if header else b'{"delay": 99999999999}', 503, [("Retry-After", header)] if header else [])
    ]

    class Busy(FaultyCloud):
        def answer(self, method, path, headers, body):
            found = super().answer(method, path, headers, body)
            return said if path.endswith("/updateReport") and len(self.reports) == 1 else found

    faulty = Busy({"url": "ftp://x", "update": "u", "version": "1.0.1", "checksum": "ab" * 32})
    rig = board(tmp_path, faulty, update__period="1 day")
    rig.run(until_s=10 * 86400)
    assert len(faulty.reports) == 2, faulty.reports
