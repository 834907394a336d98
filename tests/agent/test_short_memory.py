"""Short memory: the memory reserved for TLS, `no_memory`, and a boot without the application."""

import pytest
from ioto_tools.cloud.operators import overview
from ioto_tools.virtual_board.memory import LARGE_CHAIN
from rig import MAIN, Rig

HOUR = 3600
DATA = """
# Data of the application; the argument is in KB of the chip's memory.
kept = [bytearray(1024 * 29 // 20) for _ in range(%d)]
"""
ASKED_ONCE = """
times = []
def rig_asked():
    times.append(1)
    return len(times) == 1

"""
ASKED = """
def asked(data, request):
    print("ALONE?", request.reason)
    %s

rWatch("device:update:alone", asked)
"""


def rig_with(folder, kb, chain=None, asked="", main=MAIN, publishes=True, **changes):
    """A rig with an application that allocates `kb` of data before the agent starts."""
    head = "import asyncio\n" + DATA % kb
    main = head + main.replace("asyncio.run(", (ASKED % asked if asked else "") + "asyncio.run(")
    rig = Rig(
        folder,
        main=main,
        air={"wifi": {"net": "secret"}},
        wifi={"ssid": "net", "password": "secret"},
        network__dns="",
        **changes,
    )
    if chain:
        rig.air.peers[(rig.air.names["cloud.test"], 443)].chain = chain
    if publishes:
        rig.publish(rig.image(1), "1.0.1")
    return rig


def resets(run):
    return run.console.count("resetting into a boot without the application")


def device(rig):
    return overview.devices(rig.site)[0]


@pytest.mark.sweep
@pytest.mark.parametrize("kb, alone", [(10, False), (80, True)])
def test_update_beside_or_without_the_application(tmp_path, kb, alone):
    """The server's chain is like Let's Encrypt's.

    Without memory, the check-in of the trial also runs after a soft reset, which does not end the trial.
    """
    rig = rig_with(tmp_path, kb, LARGE_CHAIN)
    run = rig.run(until_s=900)
    assert "DEVICE:UPDATE 1.0.1 1" in run.console and rig.board.describe_otadata() == "1/VALID 2/VALID"
    assert device(rig)["version"] == "1.0.1"
    assert (resets(run) > 0) == alone and ("FAILED no_memory" in run.console) == alone and "ROLLBACK" not in run.console
    assert rig.record()["failed"] == []


@pytest.mark.sweep
def test_update_alone_never(tmp_path):
    """The log has the free memory of both heaps; the next check-in that succeeds sends the reason."""
    rig = rig_with(tmp_path, 80, LARGE_CHAIN, update__alone="never")
    run = rig.run(until_s=900)
    assert resets(run) == 0 and run.console.count("FAILED no_memory") > 3 and run.slots == ["ota_0"]
    assert "error no_memory: GC heap " in run.console and "tls_untrusted" not in run.console


@pytest.mark.sweep
def test_update_alone_always(tmp_path):
    """The update runs without the application, however much memory is free."""
    rig = rig_with(tmp_path, 0, update__alone="always")
    run = rig.run(until_s=900)
    assert resets(run) == 1 and "no_memory" not in run.console and rig.board.describe_otadata() == "1/VALID 2/VALID"


CTRL_C = """
from esp32 import NVS
from ioto import rWatch

def press(data, arg):
    raise KeyboardInterrupt

try:
    if NVS("ioto").get_i32("alone"):
        rWatch("%s", press)
except OSError:  # never asked for
    pass
"""


@pytest.mark.parametrize("moment", ["app:ready", "device:update:available"])
def test_ctrl_c_in_a_boot_without_the_application_leads_to_the_prompt(tmp_path, moment):
    """Nothing resets the board at its prompt for a day."""
    rig = rig_with(tmp_path, 0, update__alone="always")
    rig.board.write_files({"boot.py": (CTRL_C % moment).encode() + rig.board.files()["boot.py"]})
    run = rig.run(until_s=25 * HOUR)
    assert "KeyboardInterrupt" in run.console and 24 * HOUR < run.boots[2].at_s - run.boots[1].at_s < 24.1 * HOUR, (
        run.console[-2000:]
    )


@pytest.mark.sweep
def test_application_can_defer_the_boot_without_it(tmp_path):
    rig = rig_with(tmp_path, 80, LARGE_CHAIN, asked="if rig_asked(): request.defer(300)", main=ASKED_ONCE + MAIN)
    run = rig.run(until_s=1500)
    assert run.console.count("ALONE? no_memory") == 2 and resets(run) >= 1, run.console


@pytest.mark.sweep
def test_boot_without_the_application_at_most_once_per_period(tmp_path):
    """The server's chain is too large for any boot.

    The application is reset once an hour, however often the check-in fails.
    """
    rig = rig_with(tmp_path, 80, (400 * 1024, 1024), update__period="1 hour")
    run = rig.run(until_s=4 * 3600)
    assert run.console.count("FAILED no_memory") > 5
    assert 2 <= resets(run) <= 4 and run.slots == ["ota_0"] * len(run.slots)


@pytest.mark.sweep
def test_clock_change_does_not_shorten_the_period(tmp_path):
    """The board's clock is behind during the boot without the application, and is corrected afterwards."""
    rig = rig_with(tmp_path, 80, (400 * 1024, 1024), update__period="12 hours", ntp__period="20 mins")
    rig.air.ntp_ahead_s = -13 * 3600
    first = rig.run(until_s=900)
    assert resets(first) == 1
    rig.air.ntp_ahead_s = 0
    later = rig.run(until_s=3600, cause=2)
    assert rig.record()["time"] == 0 and resets(later) == 0 and later.console.count("FAILED no_memory") > 1, (
        later.console[-1500:]
    )
