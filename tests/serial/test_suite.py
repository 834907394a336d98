"""`ioto board test`: the on-board suite at a virtual board's serial port, and at boards with a defect."""

import ast
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bridge import bridge
from ioto_command import BIN, command, running
from ioto_tools.deploy.prompt import Prompt, PromptError
from ioto_tools.image import esp, layout
from ioto_tools.suite.format_results import describe, markdown
from ioto_tools.suite.run_checks import CHECKS, UPDATE, Result
from ioto_tools.virtual_board import Board
from ioto_tools.virtual_board.nvs import Nvs

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "boards.md").read_text()
COUNTS = ("resets", "soft", "trial", *("start%d" % n for n in range(6)))  # numbers of starts, counted by boot.py
WIFI = ("--ssid", "net", "--password", "secret", "--host", "127.0.0.1")


def suite(port, *only, status=0, limit_s=120, more=()):
    """Run these checks; return {check: Result}."""
    words = [word for name in only for word in ("--only", name)]
    done = command("ioto", "board", "test", port, "--yes", "--json", *words, *more, limit_s=limit_s)
    assert done.returncode == status, done.stdout + done.stderr
    found = json.loads(done.stdout)
    return {each["name"]: Result(**each) for each in found["checks"]}


def content(flash):
    """Data that the suite must not change: files, the running slot, and the other settings in the NVS."""
    board = Board(flash)
    kept = Nvs(board.flash, board.partition("nvs")).items
    nvs = {key: value[3] for key, value in kept.items() if key[1] != 1 and key[2] not in COUNTS}
    files = {name: raw for name, raw in board.files().items() if not name.startswith("state/")}
    found = files, board.read_slot("ota_0"), nvs
    board.close()
    return found


@pytest.mark.sweep
def test_a_virtual_board_passes_the_whole_suite_and_is_unchanged(flash):
    """All checks run, with Wi-Fi, then the update. Apart from numbers, docs/boards.md has the same table."""
    before = content(flash)
    with running(BIN / "ioto", "board", "run", flash, "--serial", "--wifi", "net:secret", "--network") as port:
        found = suite(port, more=(*WIFI, "--update"))
    assert list(found) == [*CHECKS, UPDATE]
    assert all(each.result == "passed" for each in found.values()), {
        name: describe(each) for name, each in found.items()
    }
    assert found["download"].found["over"] == "TLS" and found["clock"].found["ntp"].endswith(" s")
    assert content(flash) == before
    board = Board(flash)
    assert board.describe_otadata().split()[0].endswith("/VALID"), board.describe_otadata()
    board.close()
    table = [
        shape(line) for line in PAGE.splitlines() if line.startswith("| ") and line.endswith("| not yet measured |")
    ]
    assert [shape(line) for line in list(markdown(found.values()))[2:]] == table


def test_the_client_of_the_suite_has_the_methods_of_the_agents_client():
    """The agent uses it in place of its own."""
    theirs, ours = (
        methods(ROOT / "lib/ioto/http.py"),
        methods(ROOT / "tools/ioto_tools/suite/onboard/source.py"),
    )
    assert "request" in theirs and theirs <= ours


def methods(path):
    """The names of the public methods of the class Client in a file for MicroPython."""
    found = next(each for each in ast.parse(path.read_text()).body if getattr(each, "name", None) == "Client")
    return {each.name for each in found.body if hasattr(each, "name") and not each.name.startswith("_")}


def shape(line):
    return re.sub(r"[+-]?\d+(\.\d+)?", "N", line)


@pytest.mark.sweep
def test_checks_that_cannot_run_give_the_reason(tmp_path):
    """The board has MicroPython's stock layout, and neither the agent nor the name of a Wi-Fi network."""
    path = tmp_path / "stock.flash"
    Board.create(path, esp.make_image(8192, "hello"), {}, flash_bytes=4 << 20, rows=layout.stock()).close()
    with running(BIN / "ioto", "board", "run", path, "--serial") as port:
        found = suite(port, "partition", "stages", "download", "signature", "wifi", "dns", "tls", "update")
        again = command("mpremote", "connect", port, "fs", "ls")
    assert {name for name, each in found.items() if each.result == "passed"} == {"signature"}
    assert all(each.result == "not run" for name, each in found.items() if name != "signature")
    for name in ("partition", "stages", "download", "update"):
        assert found[name].why == "no update slots: create them with `ioto flash`"
    for name in ("wifi", "dns", "tls"):
        assert found[name].why == "no Wi-Fi name: pass --ssid, or set wifi.ssid in the board's ioto.json"
    assert "suite" not in again.stdout


def test_a_slow_reset_is_awaited(port):
    """Ctrl-C does not interrupt the program that resets the board, but interrupts the next program."""
    with Prompt(port) as board:
        board.restart("import machine, time\ntime.sleep(1)\nmachine.reset()")
        with pytest.raises(PromptError, match="was not reset"):
            board.restart("import time\ntime.sleep(1)")
        board.line.exec_raw_no_follow("while True:\n    pass")
        board.line.serial.write(b"\x03")
        assert b"KeyboardInterrupt" in board.line.follow(10)[1]


@pytest.mark.sweep
def test_without_wifi_the_other_checks_run(port):
    found = suite(port, "stages", "download")
    assert all(each.result == "passed" for each in found.values()), found
    assert found["stages"].found["socket"].startswith("not measured: no Wi-Fi name")
    assert found["download"].found["over"].startswith("the running slot: no Wi-Fi name")
    assert found["download"].found["image_bytes"] == 8192


# {check that must fail: a statement that breaks the virtual hardware}
BROKEN = {
    "partition": "from ioto_tools.virtual_board.flash import Flash; Flash.program = lambda self, at, raw: "
                 "self.data.__setitem__(slice(at, at + len(raw)), raw)",
    "partition-boot": "from ioto_tools.virtual_board.partitions import Partitions; Partitions.set_boot = lambda self, "
                      "row: None",
    "nvs": "from ioto_tools.virtual_board.nvs import Nvs; Nvs.set_blob = lambda self, *a: None",
    "watchdog": "from ioto_tools.virtual_board.hardware import Hardware; "
                "Hardware._watchdog_us = lambda self: float('inf')",
    "clock": "from ioto_tools.virtual_board.board import Board; from ioto_tools.virtual_board import bootloader; old = "
             "bootloader.Bootloader.start\n"
             "def start(self): it.clock.power_cut(); return old(self)\nbootloader.Bootloader.start = start",
    "update": "from ioto_tools.virtual_board import bootloader; old = bootloader.Bootloader.__init__\n"
              "bootloader.Bootloader.__init__ = lambda self, *a: (old(self, *a), setattr(self, 'rollback', False))[0]",
}  # fmt: skip
BOARD = """
import sys
from ioto_tools.virtual_board import Board
from ioto_tools.virtual_board.serial import Serial
port = Serial()
print(port.path, flush=True)
it = Board(sys.argv[1], real_time=True)
%s
it.run(until_s=60, serial=port)
"""
QUICK = ("partition",)


@pytest.mark.sweep
@pytest.mark.parametrize(
    "case", [name if name in QUICK else pytest.param(name, marks=pytest.mark.sweep) for name in BROKEN]
)
def test_a_defect_fails_its_check(flash, case):
    name = case.partition("-")[0]
    with running(sys.executable, "-c", BOARD % BROKEN[case], flash) as port:
        found = suite(port, name, status=1)
    assert found[name].result == "failed" and found[name].why, found


@pytest.mark.sweep
@pytest.mark.parametrize("protocol", ["socket", "rfc2217"])
def test_a_check_with_resets_runs_over_the_network(port, protocol):
    with bridge(port, protocol) as url:
        assert suite(url, "nvs")["nvs"].result == "passed"


def test_ctrl_c_interrupts_a_program_at_any_moment(flash):
    """The program alternates between computing and using the hardware; the board works as before."""
    quick = "from ioto_tools.virtual_board import hardware; hardware._BREAK_REAL_S = 0.0002"
    with running(sys.executable, "-c", BOARD % quick, flash) as port, Prompt(port) as board:
        board.run("from esp32 import NVS\nx = NVS('a')\nx.set_blob('k', bytes(90))\nb = bytearray(90)")
        for n in range(30):
            board.line.exec_raw_no_follow(
                "while True:\n for i in range(2000): pass\n if x.get_blob('k', b) != 90: print('wrong')"
            )
            time.sleep(0.02 + n % 10 * 0.0037)
            board.line.serial.write(b"\x03")
            said, failed = board.line.follow(10)
            assert (said, failed.split()[-1]) == (b"", b"KeyboardInterrupt:"), (n, said, failed)
            assert board.run("print(x.get_blob('k', b))") == "90\r\n"


# Ctrl-C in the flash driver, at every third call by littlefs.
BREAK_IN = """
import binascii, esp32, os, time
def whole():
    return [binascii.crc32(open('lib/ioto/' + name, 'rb').read()) for name in os.listdir('lib/ioto')]
before, entered, left = whole(), esp32._entered, 0
def broken_into():
    global left
    left -= 1
    if left == 0:
        raise KeyboardInterrupt
esp32._entered = broken_into
came = wrong = 0
for n in range(1, 41, 3):
    try:
        left = n
        os.mkdir('d')
        with open('d/f', 'wb') as f:
            f.write(bytes(700))
        time.sleep(5)
    except KeyboardInterrupt:
        came += 1
    left = 0
    try:
        for name in ('d/f', 'd'):
            try:
                os.remove(name)
            except OSError:  # not made yet
                pass
        wrong += whole() != before
    except OSError:
        wrong += 1
print(came, wrong)
"""


def test_ctrl_c_does_not_corrupt_the_file_system(port):
    """On a chip, the driver is in C: Ctrl-C never stops it halfway, so littlefs never uses data that was not read."""
    with Prompt(port) as board:
        assert board.run(BREAK_IN).split() == ["14", "0"]


# A chip with native USB: at each reset its port disappears, and returns a little later under the same name.
USB = """
import os, sys, threading
from ioto_tools.virtual_board import Board
from ioto_tools.virtual_board.hardware import SOFT, Hardware
from ioto_tools.virtual_board.serial import Serial

class Usb(Serial):
    def appear(self):
        Serial.__init__(self)
        os.symlink(self.path, link + ".new")
        os.replace(link + ".new", link)

link = sys.argv[2]
port = Usb()
port.appear()
begin = Hardware.begin

def again(self, running, cause):
    if cause not in (1, SOFT):
        port.unplug()
        os.remove(link)
        self.clock.advance(600000)
        port.appear()
    begin(self, running, cause)

Hardware.begin = again
print(link, flush=True)
Board(sys.argv[1], real_time=True).run(until_s=60, serial=port)
"""


@pytest.mark.sweep
def test_a_port_that_disappears_at_each_reset(flash, tmp_path):
    with running(sys.executable, "-c", USB, flash, tmp_path / "tty") as port:
        found = suite(port, "nvs")
    assert found["nvs"].result == "passed", found


@pytest.mark.sweep
def test_a_cable_that_is_unplugged_is_an_error(flash):
    with running(BIN / "ioto", "board", "run", flash, "--serial") as port:
        running_test = subprocess.Popen([BIN / "ioto", "board", "test", port, "-y"], stderr=subprocess.PIPE, text=True)
        time.sleep(1.5)
    printed = running_test.communicate(timeout=60)[1]
    assert running_test.returncode == 1 and "ioto board test: %s: " % port in printed, printed
    assert "Traceback" not in printed, printed
