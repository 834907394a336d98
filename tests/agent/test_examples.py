"""Each example in examples/ works as described, on the virtual board or as a process on Linux."""

import ast
import io
import json
import re
import stat
import tarfile
import time

import pytest
from ioto_tools.cloud.operators import overview
from linux_host import RESTART, Host, Served
from rig import NOW, ROOT, Rig

EXAMPLES = ROOT / "examples"
DAY = 86400
LATER_S = 100_800  # from the time at the rig's cloud to Saturday noon at the sensor


def source(name, file="main.py"):
    return (EXAMPLES / name / file).read_text()


def settings(name):
    """The example's settings, as changes for Rig."""
    return {"update__" + key: value for key, value in json.loads(source(name, "ioto.json"))["update"].items()}


def confirmed(rig):
    return overview.devices(rig.site)[0]["version"] == "1.0.1" and rig.board.describe_otadata() == "1/VALID 2/VALID"


def test_page_lists_all_examples():
    page = (EXAMPLES / "README.md").read_text()
    assert re.findall(r"^\| \[(\w+)\]\(\1/main.py\)", page, re.M) == ["blink", "sensor", "display", "gateway"]
    assert sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir()) == sorted(
        ["blink", "sensor", "display", "gateway"]
    )
    for path in EXAMPLES.rglob("*.py"):
        assert path.read_text().count("\n") <= 60, path


README = re.search("```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S).group(1)


@pytest.mark.parametrize(
    "main", [source("blink"), source("sensor"), source("display"), README], ids=["blink", "sensor", "display", "README"]
)
def test_exception_before_the_agent_is_created_resets_the_board(tmp_path, main):
    rig = Rig(tmp_path, main=main)
    rig.board.write_files({"ioto.json": b"{}"})
    run = rig.run(until_s=120, max_boots=3)
    assert run.ended == "boots" and run.console.count("ConfigError") == 3, run.console


def test_an_exception_in_the_application_ends_main():
    """main() awaits its tasks: nobody would see the exception of a task that it only creates."""
    paths = [ROOT / "main.py", ROOT / "tools/ioto_tools/demo/board/main.py", *EXAMPLES.glob("*/main.py")]
    texts = [path.read_text() for path in paths] + [README]
    mains = [each for text in texts for each in ast.parse(text).body if getattr(each, "name", "") == "main"]
    assert len(mains) == len(texts)
    for main in mains:
        called = [ast.unparse(each.func) for each in ast.walk(main) if isinstance(each, ast.Call)]
        assert "asyncio.create_task" not in called, ast.unparse(main)


def test_blink(tmp_path):
    rig = Rig(tmp_path, main=source("blink"))
    levels = []
    rig.board.hardware._pin = lambda a, b, data: (levels.append((rig.now(), b)) or 1, b"")
    rig.publish(rig.image(1), "1.0.1")
    run = rig.run(until_s=60)
    assert "installing version 1.0.1\n" in run.console and "confirmed 1.0.1\n" in run.console and confirmed(rig)
    assert len([level for at, level in levels if level >= 0]) > 80, "it blinks before and after"


def test_blink_rolls_back_if_its_lamp_is_broken(tmp_path):
    """The self-test of the example reads the pin."""
    rig = Rig(tmp_path, main=source("blink"), update__attempts=1)
    rig.board.hardware._pin = lambda a, b, data: (0, b"")
    rig.publish(rig.image(1), "1.0.1")
    run = rig.run(until_s=60)
    assert run.slots == ["ota_0", "ota_1", "ota_0"] and "confirmed" not in run.console
    assert overview.device(rig.site, "DEVICE0001")["reports"][-1]["reason"] == "selftest_failed"


@pytest.mark.sweep
def test_sensor(tmp_path):
    """A day from Saturday noon: nothing happens before the window.

    Then the download takes several wakes, of 20 s each at 1.5 KB/s.
    """
    air = {"unix_s": NOW + LATER_S, "bytes_per_s": 1500}
    rig = Rig(tmp_path, blocks=14, main=source("sensor"), air=air, watchdog=300, **settings("sensor"))
    rig.publish(rig.image(1), "1.0.1")
    run = rig.run(until_s=DAY)
    assert "confirmed 1.0.1" in run.console and confirmed(rig), run.console[-2000:]
    wakes = run.console.count("measured")
    assert 23 <= wakes <= 28, wakes
    images = [each for each in rig.air.log if each.received > 8192]
    assert len(images) >= 2 and images[0].received < 50_000, "the image came in one wake"
    assert 2 <= time.gmtime(overview.device(rig.site, "DEVICE0001")["seen_s"] + LATER_S).tm_hour < 6


@pytest.mark.parametrize("presses, asked", [([0], 1), ([14, 0], 2)], ids=["now", "in-an-hour"])
def test_display(tmp_path, presses, asked):
    rig = Rig(tmp_path, main=source("display"))
    rig.publish(rig.image(1), "1.0.1")
    left = list(presses)

    def person(line):
        """Presses and releases the next button each time the display asks for it."""
        rig.board.hardware.pins.clear()
        if "is available" in line and left:
            rig.board.hardware.pins[left.pop(0)] = 0

    run = rig.run(until_s=8000, console=person, stop=lambda line: line.startswith("Running version"))
    assert run.ended == "stopped" and run.console.count("Version 1.0.1 is available") == asked, run.console
    assert ("Asking again in an hour" in run.console) == (14 in presses) and rig.now() >= 3600 * (asked - 1)


@pytest.mark.sweep
def test_display_does_not_apply_without_a_button(tmp_path):
    rig = Rig(tmp_path, main=source("display"))
    rig.publish(rig.image(1), "1.0.1")
    run = rig.run(until_s=200)
    assert run.console.count("is available") == 1 and run.slots == ["ota_0"]


def archive(**files):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return raw.getvalue()


@pytest.mark.sweep
def test_gateway(tmp_path):
    """Script and settings are the example's, except for the window. The second update keeps the previous version."""
    cloud = Served(tmp_path)
    device = Host(tmp_path, cloud)
    try:
        found = json.loads((device.folder / "ioto.json").read_text())
        found["update"].update(json.loads(source("gateway", "ioto.json"))["update"], apply="anytime")
        device.put("ioto.json", json.dumps(found))
        device.put("main.py", source("gateway"))
        script = device.put("scripts/update", source("gateway", "scripts/update"))
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        for version in ("1.0.1", "1.0.2"):
            cloud.publish(archive(program="echo " + version), version)
            assert device.start().ended() == RESTART
            device.start().until("confirmed " + version)
            device.reported("confirmed", version)
            device.kill()
        assert (device.folder / "current" / "program").read_text() == "echo 1.0.2"
        assert (device.folder / "before" / "program").read_text() == "echo 1.0.1" and not (
            device.folder / "next"
        ).exists()
    finally:
        device.kill()
        cloud.close()
