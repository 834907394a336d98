"""Devices with this project's agent check in before they apply, and do not apply a stopped release."""

import os
import select
import subprocess
import time

import pytest
from cloud_under_test import COMMAND, ENV
from device_actions import ask, second_worker, send_report, state, why
from ioto_tools.cloud.operators import control, overview
from ioto_tools.cloud.rollout import leases
from ioto_tools.cloud.storage import audit
from ioto_tools.cloud.storage.tables import grants, releases

HOUR = 3600


def staged(cloud, id, next=HOUR, **said):
    """Let the device download and stage the release that it is offered; return its id."""
    update = overview.device(cloud.site, id)["update"]["update"] if ask(cloud, id, next=next, **said) else None
    send_report(cloud, id, "staged")
    return update


def may_apply(cloud, id, update, **said):
    """Check in before applying a staged update; return whether it may be applied. If not, report it as refused."""
    offered = cloud.check_in(id, cloud.tokens[id], "1.0.0", next=HOUR, staged=update, attempt=1, **said).json()
    if offered.get("update") == update:
        return True
    send_report(cloud, id, "refused", reason="withdrawn", update=update)
    return False


def stop(cloud):
    for n in range(2):
        ask(cloud, "BAD%d" % n)
        send_report(cloud, "BAD%d" % n, "failed")


# Ways to stop a release: (how to stop it, how to undo that or None).
STOPS = {
    "cancel": (lambda cloud: control.change_state(cloud.site, "thermo@2.0.0", "cancelled"), None),
    "pause": (
        lambda cloud: control.change_state(cloud.site, "thermo@2.0.0", "paused"),
        lambda cloud: control.change_state(cloud.site, "thermo@2.0.0", "resumed"),
    ),
    "disable": (
        lambda cloud: control.enable(cloud.site, "thermo@2.0.0", False),
        lambda cloud: control.enable(cloud.site, "thermo@2.0.0", True),
    ),
    "stop rule": (stop, lambda cloud: control.change_state(cloud.site, "thermo@2.0.0", "resumed")),
    "pin": (lambda cloud: control.pin(cloud.site, "D1", "1.0.0"), lambda cloud: control.pin(cloud.site, "D1", None)),
    "policy": (
        lambda cloud: control.set_terms(cloud.site, "thermo@2.0.0", {"policy": "false"}),
        lambda cloud: control.set_terms(cloud.site, "thermo@2.0.0", {"policy": "none"}),
    ),
    "end": (
        lambda cloud: control.set_terms(cloud.site, "thermo@2.0.0", {"end": "2027-01-15T08:00:01Z"}),
        lambda cloud: control.set_terms(cloud.site, "thermo@2.0.0", {"end": "none"}),
    ),
    "expires": (lambda cloud: cloud.site.database.write(expired), None),
}


def expired(conn):
    """Change the manifest of the release so that it expired a second ago."""
    from ioto_tools.cloud.storage import change_log

    manifest = '{"manifest": "{\\"size\\": 1024, \\"expires\\": 1799999999}", "signature": ""}'
    conn.execute(releases.update().values(manifest=manifest))
    change_log.note(conn, 0)


@pytest.mark.parametrize("way", STOPS)
def test_a_staged_update_is_offered_until_the_release_is_stopped_and_again_afterwards(cloud, way):
    does, undoes = STOPS[way]
    cloud.publish("2.0.0", limit=3, stop="50% after 2")
    update = staged(cloud, "D1")
    assert all(may_apply(cloud, "D1", update) for _ in range(3)) and state(cloud, "D1") == "staged"
    does(cloud)
    cloud.now_s += 2
    before = overview.update(cloud.site, update)
    assert before["unapplied"] == {"told": 1, "due_s": cloud.now_s - 2 + HOUR, "strangers": 0}
    assert not may_apply(cloud, "D1", update) and state(cloud, "D1") == "withdrawn"
    after = overview.update(cloud.site, update)
    assert (
        after["unapplied"]["told"] == 0 and after["granted"] == before["granted"] and after["states"]["withdrawn"] == 1
    )
    assert after["ended"] == before["ended"]  # a withdrawal is not an outcome
    assert cloud.site.database.read(leases.slots_in_use)[update] == before["granted"] - 1  # the slot is free
    assert ask(cloud, "D1", next=HOUR) is None and state(cloud, "D1") == "withdrawn"
    if undoes:
        undoes(cloud)
        assert ask(cloud, "D1", next=HOUR) == "2.0.0" and state(cloud, "D1") == "offered"
        assert cloud.site.database.read(leases.slots_in_use)[update] == before["granted"]
        send_report(cloud, "D1", "staged")
        # The withdrawal did not use up a try.
        assert may_apply(cloud, "D1", update) and overview.device(cloud.site, "D1")["update"]["tries"] == 1


def test_a_higher_release_replaces_a_staged_one(cloud):
    cloud.publish("1.5.0")
    lower = staged(cloud, "D1")
    cloud.publish("2.0.0")
    offered = cloud.check_in("D1", cloud.tokens["D1"], "1.0.0", next=HOUR, staged=lower, attempt=1).json()
    assert offered["version"] == "2.0.0" and states(cloud, "D1") == {"1.5.0": "superseded", "2.0.0": "offered"}
    send_report(cloud, "D1", "refused", reason="withdrawn", update=lower)
    assert states(cloud, "D1") == {"1.5.0": "withdrawn", "2.0.0": "offered"} and slots(cloud, lower) == 0


def states(cloud, id):
    return {each["version"]: each["state"] for each in overview.device(cloud.site, id)["updates"]}


def slots(cloud, update):
    return cloud.site.database.read(leases.slots_in_use)[update]


def test_a_device_that_is_offered_a_higher_release_returns_its_slot(cloud):
    """A device with another client keeps its slot, because it may still apply the lower release."""
    lower = cloud.publish("1.5.0", limit=2)["id"]
    assert ask(cloud, "OURS", next=HOUR) == ask(cloud, "STRANGER") == "1.5.0" and ask(cloud, "WAITS", next=HOUR) is None
    higher = cloud.publish("2.0.0", policy="device.region == 'north'")["id"]
    for _ in range(3):
        assert ask(cloud, "OURS", next=HOUR, region="north") == ask(cloud, "STRANGER", region="north") == "2.0.0"
    assert states(cloud, "OURS") == {"1.5.0": "withdrawn", "2.0.0": "offered"} and slots(cloud, lower) == 1
    assert states(cloud, "STRANGER") == {"1.5.0": "superseded", "2.0.0": "offered"} and slots(cloud, higher) == 2
    assert (
        ask(cloud, "WAITS", next=HOUR) == "1.5.0" and slots(cloud, lower) == 2 and ask(cloud, "LATE", next=HOUR) is None
    )
    control.change_state(cloud.site, higher, "cancelled")
    assert ask(cloud, "OURS", next=HOUR, region="north") is None and ask(cloud, "STRANGER", region="north") == "1.5.0"


def test_an_offer_that_is_not_staged_is_withdrawn_at_the_next_check_in(cloud):
    """This project's agent may not have staged it yet; another client may have downloaded it, and keeps its offer."""
    cloud.publish("2.0.0")
    for id in ("OURS", "LOADS", "HOLDS"):
        ask(cloud, id, next=HOUR)
    ask(cloud, "STRANGER")
    send_report(cloud, "LOADS", "downloading")
    control.change_state(cloud.site, "thermo@2.0.0", "paused")
    assert overview.update(cloud.site, "thermo@2.0.0")["unapplied"] == {
        "told": 3,
        "due_s": cloud.now_s + HOUR,
        "strangers": 1,
    }
    update = overview.update(cloud.site, "thermo@2.0.0")["update"]
    assert ask(cloud, "OURS", next=HOUR) is ask(cloud, "LOADS", next=HOUR) is ask(cloud, "STRANGER") is None
    assert ask(cloud, "HOLDS", next=HOUR, staged=update, attempt=1) is None
    assert [state(cloud, id) for id in ("OURS", "LOADS", "HOLDS", "STRANGER")] == [
        "withdrawn",
        "withdrawn",
        "staged",
        "offered",
    ]
    assert overview.update(cloud.site, "thermo@2.0.0")["unapplied"] == {
        "told": 1,
        "due_s": cloud.now_s + HOUR,
        "strangers": 1,
    }
    ask(cloud, "STRANGER", "2.0.0")  # this device has applied it
    assert state(cloud, "STRANGER") == "confirmed"


def test_a_returned_slot_goes_to_another_device(cloud):
    cloud.publish("2.0.0", limit=2)
    other = second_worker(cloud)
    updates = [staged(cloud, id) for id in ("D1", "D2")]
    assert ask(cloud, "D3", next=HOUR) is ask(other, "D4", next=HOUR) is None and why(cloud, "D3") == {"2.0.0": "limit"}
    control.pin(cloud.site, "D1", "1.0.0")
    assert not may_apply(cloud, "D1", updates[0])
    other.moments[0] += 1
    assert ask(other, "D4", next=HOUR) == "2.0.0" and ask(cloud, "D3", next=HOUR) is None
    control.pin(cloud.site, "D1", None)
    assert ask(cloud, "D1", next=HOUR) is None and why(cloud, "D1") == {"2.0.0": "limit"}
    control.set_terms(cloud.site, "thermo@2.0.0", {"limit": "3"})
    assert ask(cloud, "D1", next=HOUR) == "2.0.0" and ask(cloud, "D3", next=HOUR) is None
    assert overview.update(cloud.site, "thermo@2.0.0")["granted"] == 3
    other.close()


def test_a_returned_slot_does_not_count_for_the_rate(cloud):
    cloud.publish("2.0.0", rate=1, period="1 hour")
    update = staged(cloud, "D1")
    assert ask(cloud, "D2", next=HOUR) is None
    control.change_state(cloud.site, "thermo@2.0.0", "paused")
    assert not may_apply(cloud, "D1", update)
    control.change_state(cloud.site, "thermo@2.0.0", "resumed")
    assert ask(cloud, "D1", next=HOUR) == "2.0.0" and ask(cloud, "D2", next=HOUR) is None
    cloud.now_s += HOUR
    assert ask(cloud, "D2", next=HOUR) == "2.0.0"


@pytest.mark.parametrize(
    "report, ends",
    [("applied", "applied"), ("confirmed", "confirmed"), ("rolled_back", "rolled_back"), ("staged", "withdrawn")],
)
def test_a_device_that_applied_a_withdrawn_update_takes_a_slot(cloud, report, ends):
    """The slot is taken even above the limit. A late report from before the withdrawal changes nothing."""
    cloud.publish("2.0.0", limit=1)
    update = staged(cloud, "D1")
    control.change_state(cloud.site, update, "paused")
    assert not may_apply(cloud, "D1", update)
    send_report(cloud, "D1", report)
    assert state(cloud, "D1") == ends and cloud.site.database.read(leases.slots_in_use)[update] == (ends != "withdrawn")
    control.change_state(cloud.site, update, "resumed")
    assert ask(cloud, "D2", next=HOUR) == ("2.0.0" if ends == "withdrawn" else None)


def test_a_check_in_with_staged_counts_as_that_report(cloud):
    """A device that was marked as lost, or that tries again by itself, may therefore apply its staged update."""
    from ioto_tools.cloud.rollout import lost_devices

    cloud.publish("2.0.0")
    for id in ("SILENT", "BACK", "UNHEARD"):
        ask(cloud, id, next=HOUR)
    update = staged(cloud, "BACK")
    lost_devices.mark_silent(cloud.site)
    cloud.now_s += 25 * HOUR
    silent = cloud.site.database.read(overview.find_device, "SILENT")["key"]
    cloud.site.database.write(
        lambda conn: conn.execute(grants.update().where(grants.c.device == silent).values(state="lost", attempt=1))
    )
    assert may_apply(cloud, "SILENT", update) and state(cloud, "SILENT") == "staged"
    assert may_apply(cloud, "UNHEARD", update) and state(cloud, "UNHEARD") == "staged"
    send_report(cloud, "BACK", "applied")
    send_report(cloud, "BACK", "rolled_back")
    assert why(cloud, "BACK") == {"2.0.0": "waits"}
    offered = cloud.check_in("BACK", cloud.tokens["BACK"], "1.0.0", next=HOUR, staged=update, attempt=2).json()
    assert (
        offered["update"] == update
        and overview.device(cloud.site, "BACK")["update"]["attempt"] == 2
        and state(cloud, "BACK") == "staged"
    )
    assert (
        cloud.check_in("BACK", cloud.tokens["BACK"], "1.0.0", next=HOUR, staged="NOTHING", attempt=2).json()["update"]
        == update
    )


def test_invalid_values_of_next_and_staged_are_treated_as_properties(cloud):
    cloud.publish("2.0.0")
    for n, said in enumerate(
        (
            {"next": "3600"},
            {"next": -1},
            {"next": 1.5},
            {"next": True},
            {"next": None},
            {"staged": 7},
            {"staged": ["x"]},
            {"next": {}},
        )
    ):
        assert ask(cloud, "D%d" % n, **said) == "2.0.0", said
    assert ask(cloud, "LONG", next=10**12) == "2.0.0"
    assert overview.update(cloud.site, "thermo@2.0.0")["unapplied"]["told"] == 1


# ---- the command line


@pytest.mark.sweep
def test_cancel_prints_the_number_of_devices_and_does_not_wait_without_a_terminal(cloud, ioto):
    cloud.publish("2.0.0")
    updates = {staged(cloud, "D%d" % n) for n in range(3)}
    ask(cloud, "STRANGER")
    done = ioto("updates", "cancel", "thermo@2.0.0", "--data", "site").stdout
    assert (
        "thermo 2.0.0 is cancelled\n3 devices have staged it or are downloading it: each drops it at its next check-in"
        in done
    )
    assert "1 device was offered it and can't be made to drop it" in done
    for n in range(3):
        assert not may_apply(cloud, "D%d" % n, *updates)
    shown = ioto("updates", "show", "thermo@2.0.0", "--data", "site").stdout
    assert "in download" not in shown and "1 device was offered it and can't" in shown


def wait_for_output(terminal, words, limit_s=60):
    """Read the terminal until it has shown `words`."""
    seen = b""
    while words not in seen:
        assert select.select([terminal], [], [], limit_s)[0], seen
        seen += os.read(terminal, 4096)


@pytest.mark.sweep
def test_cancel_shows_the_remaining_number_at_a_terminal(cloud, tmp_path):
    import pty

    cloud.publish("2.0.0")
    updates = {staged(cloud, "D%d" % n) for n in range(2)}
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "updates", "cancel", "thermo@2.0.0", "--data", "site"],
        cwd=tmp_path,
        env=ENV,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    wait_for_output(ours, b"waiting until they have dropped it")
    assert not may_apply(cloud, "D0", *updates)
    wait_for_output(ours, b"1 device left")
    assert not may_apply(cloud, "D1", *updates)
    wait_for_output(ours, b"0 devices left")
    assert process.wait(30) == 0
    os.close(ours)


@pytest.mark.sweep
def test_ctrl_c_ends_only_the_waiting(cloud, tmp_path):
    import pty
    import signal

    cloud.publish("2.0.0")
    staged(cloud, "D1")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "updates", "pause", "thermo@2.0.0", "--data", "site"],
        cwd=tmp_path,
        env=ENV,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    wait_for_output(ours, b"waiting until they have dropped it")
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    wait_for_output(ours, b"1 device left; `ioto updates show thermo@2.0.0`")
    assert process.wait(30) == 0 and overview.update(cloud.site, "thermo@2.0.0")["state"] == "paused"
    os.close(ours)
    assert [row["action"] for row in cloud.site.database.read(audit.newest)][0] == "release.paused"
