"""The application has filled the file system; the agent uses space that it has reserved since its first start."""

import json

import pytest
from rig import MAIN, Rig, config
from signing import trusting

HOUR = 3600
BALLAST = 480 * 1024  # filling the rest takes little time
FILL = """
import os

def fill():
    for size in (32768, 4096):
        try:
            while True:
                with open("full/%%d" %% len(os.listdir("full")), "wb") as f:
                    f.write(bytes(size))
        except OSError:
            pass

async def filling():
    await asyncio.sleep(%d)
    try:
        os.mkdir("full")
    except OSError:
        pass
    fill()
    print("FULL", os.statvfs("/")[3])
    while True:
        await asyncio.sleep(3600)
        fill()

async def main(made):
    task = asyncio.create_task(filling())
    await made.run()
"""
FULL = FILL + MAIN.replace("asyncio.run(agent(", "asyncio.run(main(agent(").replace(".run())", "))")


def check_full(rig, run):
    free = [int(line.split()[1]) for line in run.console.splitlines() if line.startswith("FULL")]
    assert free and all(blocks == 0 or blocks >> 31 for blocks in free), free  # littlefs counts some blocks twice


@pytest.mark.sweep
@pytest.mark.parametrize("after_s, hours", [(0, 2), pytest.param(100, 24, marks=pytest.mark.sweep)])
def test_two_updates_on_a_full_file_system(tmp_path, after_s, hours):
    rig = Rig(tmp_path, main=FULL % after_s, files={"ballast": bytes(BALLAST)})
    check_full(rig, rig.run(until_s=hours * HOUR))
    rig.publish(rig.image(1), "1.0.1")
    run = rig.run(until_s=hours * HOUR)
    check_full(rig, run)
    assert run.slots == ["ota_0", "ota_1"] and "CONFIRMED 1.0.1" in run.console and "record:" not in run.console, (
        run.console[-3000:]
    )
    rig.publish(rig.image(2), "1.0.2")
    run = rig.run(until_s=hours * HOUR)
    assert run.slots == ["ota_1", "ota_0"] and "CONFIRMED 1.0.2" in run.console, run.console[-3000:]
    assert [name for name in rig.board.files() if "spare" in name]


GREEDY = FULL % 100
GREEDY = GREEDY.replace(
    "    fill()\n    print",
    """    for name in os.listdir("state"):
        if "spare" in name:
            os.remove("state/" + name)
    fill()
    print""",
)


def test_log_says_that_space_is_missing(tmp_path):
    """The application has removed the spare files, and has used their space too."""
    rig = Rig(tmp_path, main=GREEDY, files={"ballast": bytes(BALLAST)})
    rig.publish(rig.image(1), "1.0.1")
    rig.board.write_files({"ioto.json": config(update__schedule="10 * * * *")})
    run = rig.run(until_s=0.5 * HOUR)
    check_full(rig, run)
    assert (
        "error record_failed: OSError(28,)" in run.console
        and "error record: OSError(28,)" in run.console
        and "error record: OSError(2,)" not in run.console
    ), run.console[-3000:]


@pytest.mark.sweep
def test_device_registers_again_on_a_full_file_system(tmp_path):
    rig, cloud = trusting(tmp_path / "rig", trusted=())
    rig.board.write_files({"main.py": (FULL % 100).encode(), "ballast": bytes(BALLAST)})
    rig.run(until_s=HOUR)
    cloud.revoke("DEVICE0001")
    before = json.loads(rig.board.files()["state/provision.json"])
    rig.run(until_s=3 * HOUR)
    after = json.loads(rig.board.files()["state/provision.json"])
    assert after["token"] and after["token"] != before["token"]
    cloud.release("1.0.1", rig.image(1))
    run = rig.run(until_s=3 * HOUR)
    assert run.slots == ["ota_0", "ota_1"] and "CONFIRMED 1.0.1" in run.console
