"""The commands `ioto board new`, `show`, `run` and `cut`, as a user types them."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from ioto_tools.cli import main
from ioto_tools.image import esp, layout

FOLDER = {"main.py": "import time\nfor i in range(3):\n    print('blink', i)\n    time.sleep(1)\n"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("app.bin").write_bytes(esp.make_image(8192, "hello", version="v9"))
    Path("files").mkdir()
    for name, text in FOLDER.items():
        (Path("files") / name).write_text(text)
    return tmp_path


def ioto(*words, status=0):
    done = CliRunner().invoke(main, ["board", *words])
    assert done.exit_code == status, done.output
    return done.output


def test_a_new_board_is_shown_and_runs(folder):
    assert "8192 bytes of firmware" in ioto("new", "b.flash", "app.bin", "files")
    shown = ioto("show", "b.flash")
    assert (
        "otadata    1/VALID -" in shown
        and "version v9" in shown
        and "main.py" in shown
        and "ota_1      no bootable image" in shown
    )
    printed = ioto("run", "b.flash", "--simulated", "--seconds", "10")
    assert "blink 0\nblink 1\nblink 2\n" in printed and "-- time after 1 boot(s): ota_0; otadata 1/VALID -" in printed
    found = json.loads(ioto("show", "b.flash", "--json"))
    assert (
        found["slots"]["ota_0"]["version"] == "v9"
        and found["record"] is None
        and "lib/ioto/parts.bin" in found["files"]
    )


def test_a_dump_of_a_whole_flash_is_accepted(folder):
    table = layout.build(layout.stock())
    whole = (
        esp.make_image(8192, "bootloader").ljust(0x7000, b"\xff")
        + table.ljust(0x8000, b"\xff")
        + Path("app.bin").read_bytes()
    )
    Path("whole.bin").write_bytes(whole + b"\xff" * 5000)
    assert "8192 bytes of firmware" in ioto("new", "b.flash", "whole.bin", "files", "--no-agent")


def test_a_board_runs_after_a_power_cut(folder):
    Path("files/main.py").write_text("f = open('x', 'w')\nf.write('y' * 9000)\nf.close()\nprint('written')\n")
    ioto("new", "b.flash", "app.bin", "files", "--no-agent")
    assert "-- cut after 1 boot(s)" in ioto("cut", "b.flash", "--operation", "1", "--simulated", "--seconds", "5")
    assert "written" in ioto("run", "b.flash", "--simulated", "--seconds", "5")
    assert "never reached" in ioto("cut", "b.flash", "--operation", "100000", "--simulated", "--seconds", "5", status=1)


def test_errors_name_the_problem(folder):
    assert "ioto board new" in ioto("show", "missing.flash", status=1)
    ioto("new", "b.flash", "app.bin", "files")
    assert "--force" in ioto("new", "b.flash", "app.bin", "files", status=1)
    Path("text.bin").write_text("no firmware")
    assert "neither an application image nor" in ioto("new", "c.flash", "text.bin", "files", status=1)
    assert not Path("c.flash").exists()
    assert "multiple of 0x10000" in ioto("new", "c.flash", "app.bin", "files", "--slot-size", "0x12345", status=1)
    assert "leave" in ioto("new", "c.flash", "app.bin", "files", "--flash-size", "2M", status=1)
    Path("big.bin").write_bytes(esp.make_image(0x20000, "big"))
    assert "the slot" in ioto("new", "c.flash", "big.bin", "files", "--slot-size", "0x10000", status=1)
    assert "NAME:PORT=HOST:PORT" in ioto("run", "b.flash", "--peer", "nonsense", status=1)
    Path("junk.flash").write_bytes(bytes(65536))
    assert "partition table" in ioto("show", "junk.flash", status=1)


def test_a_busy_program_ends_when_its_board_is_killed(folder):
    Path("files/main.py").write_text("print('computing')\nwhile True:\n    pass\n")
    ioto("new", "b.flash", "app.bin", "files", "--no-agent")
    board = subprocess.Popen(
        [Path(sys.executable).parent / "ioto", "board", "run", "b.flash"], stdout=subprocess.PIPE, text=True
    )
    assert any("computing" in line for line in board.stdout)
    [spawner] = children(board.pid)
    [cpu] = children(spawner)
    board.kill()
    board.communicate()
    for _ in range(100):
        if not any(is_running(pid) for pid in (spawner, cpu)):
            return
        time.sleep(0.1)
    pytest.fail("one of them still runs: %s, %s" % (spawner, cpu))


def children(pid):
    return Path("/proc/%s/task/%s/children" % (pid, pid)).read_text().split()


def is_running(pid):
    try:
        return " Z " not in Path("/proc", pid, "stat").read_text()
    except OSError:
        return False
