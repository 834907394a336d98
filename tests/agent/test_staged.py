"""A staged image waits for the apply window and for an answer, also across resets; a newer image replaces it."""

import pytest
from ioto.recall import decode
from ioto.record import encode
from ioto_tools.cloud.operators import overview
from rig import MAIN, NOW, PRODUCT, Rig

DEFER = MAIN.replace('rWatch("device:update", update)', 'rWatch(name="device:update", proc=update)')
DEFER = DEFER.replace(
    "    staged.apply()", "    staged.defer(seconds=600) if staged.attempt and not deferred() else staged.apply()"
).replace(
    "def update",
    """
def deferred():
    try:
        open("deferred").close()
        return True
    except OSError:
        open("deferred", "w").close()
        return False

def update""",
)
UNANSWERED = MAIN.replace("    staged.apply()", "    pass")


def states(rig, version):
    device = overview.devices(rig.site)[0]["id"]
    return [r["state"] for r in overview.device(rig.site, device)["reports"] if r["version"] == version]


def signals(run):
    return [line.split()[1] for line in run.console.split("\n") if line.startswith("DEVICE:UPDATE")]


@pytest.mark.sweep
def test_staged_image_waits_for_the_apply_window_over_resets(tmp_path):
    # NOW is 08:00 UTC; the window opens at 11:00.
    rig = Rig(tmp_path, update__apply="* 11 * * *")
    rig.publish(rig.image(1), "1.0.1")
    assert rig.run(until_s=3600).slots == ["ota_0"]
    assert rig.run(until_s=3600, cause=2).slots == ["ota_0"]
    run = rig.run(until_s=3 * 3600, cause=2)
    assert run.slots == ["ota_0", "ota_1"]
    unix = NOW + run.boots[1].at_s
    assert 11 * 3600 <= unix % 86400 < 11 * 3600 + 120, unix % 86400
    assert states(rig, "1.0.1") == ["downloading", "staged", "applied", "confirmed"]


def test_check_in_waits_for_the_schedule_window(tmp_path):
    rig = Rig(tmp_path, update__schedule="0-9 10 * * *", update__jitter="5 mins")
    rig.publish(rig.image(1), "1.0.1")
    run = rig.run(until_s=3 * 3600)
    assert run.slots == ["ota_0", "ota_1"]
    first = min(r["received_s"] for r in overview.device(rig.site, "DEVICE0001")["reports"])
    assert 10 * 3600 <= first % 86400 < 10 * 3600 + 600


def test_deferral_lasts_over_a_reset(tmp_path):
    rig = Rig(tmp_path, main=DEFER)
    rig.publish(rig.image(1), "1.0.1")
    run = rig.run(until_s=100)
    assert run.slots == ["ota_0"] and signals(run) == ["1.0.1"] and "deferred" in states(rig, "1.0.1")
    run = rig.run(until_s=400, cause=2)
    assert run.slots == ["ota_0"] and signals(run) == []
    run = rig.run(until_s=400, cause=2)
    assert run.slots == ["ota_0", "ota_1"] and states(rig, "1.0.1")[-1] == "confirmed"


@pytest.mark.parametrize("ahead_s, goes", [(3650 * 86400, True), (86400, False), (-86400, True)])
def test_deferral_by_a_wrong_clock(tmp_path, ahead_s, goes):
    """The clock was wrong when the application deferred the update, and is right after the reset."""
    rig = Rig(tmp_path, main=DEFER)
    rig.publish(rig.image(1), "1.0.1")
    rig.run(until_s=100)
    for n in (0, 1):
        name = "state/record.%d" % n
        seq, record = decode(rig.board.files()[name])
        rig.board.write_files({name: encode(seq, dict(record, defer=NOW + 600 + ahead_s))})
    run = rig.run(until_s=4 * 3600, cause=2)
    assert (run.slots == ["ota_0", "ota_1"]) == goes, run.console


ALWAYS_DEFERS = MAIN.replace(
    "    staged.apply()", "    print('NOTES', staged.notes)\n    staged.defer(7 * 86400)"
).replace(
    'rWatch("device:confirmed"',
    'rWatch("device:update:available", lambda data, offer: print("AVAILABLE", offer["notes"], offer["kind"]))\n'
    'rWatch("device:confirmed"',
    1,
)
NO_DEFER = {"kind": "security", "notes": "Fixes the radio", "no_defer_after": "2027-01-15T10:00Z"}  # NOW + 2 hours


def test_a_security_release_is_not_postponed_after_the_date(tmp_path):
    rig = Rig(tmp_path, main=ALWAYS_DEFERS)
    rig.publish(rig.image(1), "1.0.1", **NO_DEFER)
    run = rig.run(until_s=2 * 3600 - 300)
    assert run.slots == ["ota_0"] and signals(run) == ["1.0.1"] and "deferred" in states(rig, "1.0.1")
    assert "AVAILABLE Fixes the radio security" in run.console and "NOTES Fixes the radio" in run.console
    run = rig.run(until_s=3600, cause=2)
    assert run.slots == ["ota_0", "ota_1"] and states(rig, "1.0.1")[-1] == "confirmed", run.console
    assert 2 * 3600 <= NOW + run.boots[1].at_s - NOW and "no longer deferred" in run.console


@pytest.mark.sweep
def test_a_date_that_is_set_after_the_deferral_ends_it(tmp_path):
    rig = Rig(tmp_path, main=ALWAYS_DEFERS)
    rig.publish(rig.image(1), "1.0.1", notes="x", kind="security")
    run = rig.run(until_s=3 * 3600)
    assert run.slots == ["ota_0"] and signals(run) == ["1.0.1"]
    from ioto_tools.cloud.operators import control

    control.set_terms(rig.site, "%s@1.0.1" % PRODUCT, {"no_defer_after": "2027-01-15T10:00Z"})
    run = rig.run(until_s=2 * 3600)
    assert run.slots[-1] == "ota_1" and len(signals(run)) == 1, run.console


@pytest.mark.sweep
def test_without_a_clock_there_is_no_date(tmp_path):
    rig = Rig(tmp_path, main=ALWAYS_DEFERS, air={"ntp": False}, date=False)
    rig.publish(rig.image(1), "1.0.1", **{**NO_DEFER, "no_defer_after": "2026-01-01"})
    run = rig.run(until_s=4 * 3600)
    assert run.slots == ["ota_0"] and signals(run) == ["1.0.1"]


def test_unanswered_signal_is_repeated_and_nothing_is_applied(tmp_path):
    rig = Rig(tmp_path, main=UNANSWERED)
    rig.publish(rig.image(1), "1.0.1")
    run = rig.run(until_s=4 * 3600)
    assert run.slots == ["ota_0"] and 3 <= len(signals(run)) <= 5, signals(run)


def test_newer_update_replaces_the_staged_one(tmp_path):
    rig = Rig(tmp_path, main=UNANSWERED)
    rig.publish(rig.image(1), "1.0.1")
    rig.run(until_s=600)
    rig.publish(rig.image(2), "1.0.2")
    run = rig.run(until_s=4000, cause=2)
    assert signals(run)[-1] == "1.0.2", run.console
    assert rig.board.read_slot("ota_1") == b"" and rig.record()["update"]["version"] == "1.0.2"
    assert states(rig, "1.0.1")[-1] == "refused"


@pytest.mark.sweep
def test_changed_slot_is_downloaded_again(tmp_path):
    rig = Rig(tmp_path, main=UNANSWERED)
    rig.publish(rig.image(1), "1.0.1")
    rig.run(until_s=600)
    p = rig.board.partition("ota_1")
    rig.board.flash.data[p.address + 5000] ^= 1
    rig.board.write_files({"main.py": MAIN.encode()})
    run = rig.run(until_s=4 * 3600, cause=2)
    assert "checksum_mismatch', 'slot changed'" in run.console
    assert run.slots[-1] == "ota_1" and rig.board.describe_otadata() == "1/VALID 2/VALID"


@pytest.mark.sweep
@pytest.mark.parametrize("window,goes", [("anytime", True), ("* * 1-31 * *", True), ("* 0-22 * * *", False)])
def test_no_window_but_anytime_is_open_without_a_clock(tmp_path, window, goes):
    rig = Rig(tmp_path, update__schedule=window, update__apply=window, air={"ntp": False}, date=False)
    rig.publish(rig.image(1), "1.0.1")
    run = rig.run(until_s=2 * 3600)
    assert (run.slots[-1] == "ota_1") == goes, run.console


@pytest.mark.sweep
@pytest.mark.parametrize("jump", [-3650 * 86400, -7200, 7200, 3650 * 86400])
def test_clock_jump_neither_stops_updates_nor_repeats_check_ins(tmp_path, jump):
    """The RTC is set to a wrong time between two check-ins."""
    rig = Rig(tmp_path)
    rig.publish(rig.image(1), "1.0.1")
    rig.run(until_s=600)
    before = overview.devices(rig.site)[0]["checkins"]
    rig.air.unix_s += jump
    rig.publish(rig.image(2), "1.0.2")
    run = rig.run(until_s=3 * 3600, cause=2)
    assert run.slots[-1] == "ota_0" and states(rig, "1.0.2")[-1] == "confirmed", run.console
    assert overview.devices(rig.site)[0]["checkins"] - before <= 8
