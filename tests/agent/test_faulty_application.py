"""A confirmed application hangs or ends: thanks to watchdog and start counter, the next release is installed.

No cable is needed.
"""

import pytest
from ioto_tools.cloud.operators import overview
from rig import MAIN, Rig

HOUR = 3600
# Only the application of the first image is faulty.
FAULTY = """
import asyncio, time
from esp32 import Partition

def is_faulty():
    head = bytearray(4096)
    Partition(Partition.RUNNING).readblocks(0, head)
    return b"image 0" in head

async def fail(after_s):
    await asyncio.sleep(after_s)
    print("FAULTY")
    %s

async def main(made):
    task = asyncio.create_task(made.run())
    if is_faulty():
        await fail(%d)
    await task
"""
RUN = (
    MAIN.replace("import agent\n", "import agent, run\n")
    .replace("asyncio.run(agent(", "run(main(agent(")
    .replace(".run())", "))")
)
BARE = MAIN.replace("asyncio.run(agent(", "asyncio.run(main(agent(").replace(".run())", "))")
WAYS = {"hangs": "time.sleep(1000000)", "raises": "raise ValueError('no sensor')", "returns": "return"}


def faulty(folder, main, how, after_s, **changes):
    text = FAULTY % (WAYS[how], after_s)
    if how == "returns":
        text = text.replace("    await task\n", "    else:\n        await task\n")
    return Rig(folder, main=text + main, **{"watchdog": 60, **changes})


def check_recovery(rig, days=2):
    """A release that is published after three failures is installed, without a power cycle of the board."""
    failures = []

    def operator(line):
        failures.append(line == "FAULTY")
        if line == "FAULTY" and sum(failures) == 3:
            rig.publish(rig.image(1), "1.0.1")

    run = rig.run(until_s=days * 24 * HOUR, console=operator, stop=lambda line: "CONFIRMED" in line)
    assert run.ended == "stopped" and run.slots[-1] == "ota_1", run.console[-2000:]
    rig.run(until_s=HOUR, cause=2)
    assert rig.board.describe_otadata() == "1/VALID 2/VALID"
    assert overview.device(rig.site, "DEVICE0001")["reports"][-1]["state"] == "confirmed"


@pytest.mark.sweep
@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize(
    "after_s", [pytest.param(0, marks=pytest.mark.sweep), 3, pytest.param(12, marks=pytest.mark.sweep), 60]
)
def test_board_with_run_recovers(tmp_path, how, after_s):
    check_recovery(faulty(tmp_path, RUN, how, after_s))


@pytest.mark.sweep
@pytest.mark.parametrize("how", WAYS)
def test_board_with_asyncio_run_recovers(tmp_path, how):
    """However the application ends, nothing feeds the watchdog any more."""
    check_recovery(faulty(tmp_path, BARE, how, 60))


CTRL_C = FAULTY % ("raise KeyboardInterrupt", 30)


@pytest.mark.sweep
def test_board_at_its_prompt_is_not_reset_for_a_day(tmp_path):
    """Ctrl-C is pressed 30 seconds after the start."""
    rig = Rig(tmp_path, main=CTRL_C + RUN)
    run = rig.run(until_s=25 * HOUR)
    assert run.console.count("KeyboardInterrupt") == 2 and 24 * HOUR < run.boots[1].at_s < 24.1 * HOUR, run.boots
    rig.publish(rig.image(1), "1.0.1")
    assert "CONFIRMED" in rig.run(until_s=25 * HOUR).console


@pytest.mark.sweep
def test_traceback_is_stored_and_shortened(tmp_path):
    rig = faulty(tmp_path, RUN, "raises", 3)
    rig.run(until_s=30)
    kept = rig.board.files()["state/traceback"].decode()
    assert "ValueError: no sensor" in kept and "in fail" in kept
    rig.board.write_files(
        {
            "main.py": b"from ioto.start import run\nasync def f(n):\n    await f(n + 1) if n < 90 else "
            b"open('no-such-file')\nrun(f(0))\n"
        }
    )
    run = rig.run(until_s=30)
    long = rig.board.files()["state/traceback"].decode()
    assert len(long) <= 1024 and long.startswith("Traceback") and long.endswith("OSError: [Errno 2] ENOENT\n"), long
    assert len([op for op in run.trace.ops if op[0] == "erase"]) < 20  # the same traceback is not written again


def test_traceback_goes_to_the_listener_instead_of_the_console(tmp_path):
    rig = faulty(tmp_path, RUN, "raises", 3)
    run = rig.run(until_s=10)
    assert run.console.count("error Traceback") == run.console.count("Traceback"), run.console


def test_watchdog_can_be_switched_off(tmp_path):
    rig = faulty(tmp_path, RUN, "hangs", 3, watchdog="never")
    assert rig.run(until_s=5 * HOUR).slots == ["ota_0"]
