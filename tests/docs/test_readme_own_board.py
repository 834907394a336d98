"""The README's section on your own board: its commands run in order, as far as possible without a board.

esp32_mock_bootloader emulates the chip's loader. What was flashed runs on a virtual board, whose serial port replaces
the cable and whose simulated network leads to the real device cloud.
"""

import json
import os
import re
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import click
import pytest
from ioto_tools.cli import main
from ioto_tools.image import esp, samples

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SECTION = (ROOT / "README.md").read_text().split("## Your first update, on your own board")[1].split("\n## ")[0]
COMMANDS = [
    line[2:]
    for block in re.findall(r"```console\n(.*?)```", SECTION, re.S)
    for line in block.splitlines()
    if line.startswith("$ ")
]
STOCK = "ESP32_GENERIC-v1.25.0.bin"
NEW = "ESP32_GENERIC-v1.26.0.app-bin"
LIMIT_S = 60
COMMON_OPTIONS = ("as_json", "force")  # the same in many commands, so the pages need not name them for each


class Shell:
    """A shell in its own folder with `ioto` on the path; close() ends the programs that still run."""

    def __init__(self, folder):
        self.folder = folder
        self.env = dict(
            os.environ,
            PATH="%s:%s" % (BIN, os.environ["PATH"]),
            IOTO_PASSPHRASE="of the key",
            IOTO_WIFI_PASSWORD="of the network",
        )
        self.going = []

    def run(self, command):
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=LIMIT_S
        )
        assert done.returncode == 0, "$ %s\n%s%s" % (command, done.stdout, done.stderr)
        return done.stdout

    def start(self, command, until=None):
        """Start `command`; with `until`, read lines up to the first that contains it. Return (process, that line)."""
        going = subprocess.Popen(
            ["bash", "-c", "exec " + command],
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self.going.append(going)
        return going, until and read_lines_until(going, until)

    def close(self):
        for each in self.going:
            each.kill()
            each.communicate()


def read_lines_until(going, text):
    late = threading.Timer(LIMIT_S, going.kill)
    late.start()
    seen = ""
    for line in going.stdout:
        seen += line
        if text in line:
            late.cancel()
            return line
    raise AssertionError("%r never came:\n%s" % (text, seen))


@pytest.fixture
def shell(tmp_path):
    made = Shell(tmp_path)
    (tmp_path / STOCK).write_bytes(samples.merged("generic"))
    (tmp_path / NEW).write_bytes(esp.make_image(1 << 18, "MicroPython v1.26.0"))
    yield made
    made.close()


def the_command(start):
    """The only command of the section that begins with `start`."""
    found = [each for each in COMMANDS if each.startswith(start)]
    assert len(found) == 1, (start, COMMANDS)
    return found[0]


def test_commands_of_the_section_are_the_tested_ones():
    order = [
        "product new",
        "cloud certificate",
        "keys new",
        "cloud serve",
        "init",
        "flash",
        "board log",
        "publish",
        "devices",
        "deploy",
    ]
    assert [" ".join(each.split()[1:3])[: len(words)] for each, words in zip(COMMANDS, order, strict=True)] == order
    board = [each for each in COMMANDS if each.split()[1] in ("init", "flash", "board")]
    assert len(board) == 3
    for each in board:  # docs/boards.md has the same three commands
        assert each in (ROOT / "docs" / "boards.md").read_text()


def test_readme_says_how_to_install_the_command():
    """The README says what `make` and `pip install .` do after a clone."""
    before = (ROOT / "README.md").read_text().split("## Your first update, on your own board")[0]
    assert (
        "command `ioto` into `.venv/bin`" in before and ". .venv/bin/activate" in before and "`pip install .`" in before
    )
    makefile, project = (ROOT / "Makefile").read_text(), tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (
        re.search(r"^VENV := \.venv$", makefile, re.M)
        and "pip install" in makefile
        and list(project["scripts"]) == ["ioto"]
    )
    for page in ("README.md", "docs/boards.md"):  # no package of that name is published
        assert "pip install %s" % project["name"] not in (ROOT / page).read_text()


def walk(command, path):
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from walk(inner, path + " " + name)


def test_pages_name_every_command_and_option():
    pages = "".join(
        (ROOT / name).read_text() for name in ("docs/boards.md", "docs/virtual-board.md", "firmware/README.md")
    )
    found = [
        pair
        for name in ("init", "image", "flash", "freeze", "deploy", "board")
        for pair in walk(main.get_command(None, name), "ioto " + name)
    ]
    assert len(found) > 10
    for path, command in found:
        assert (path in pages or "`%s`" % path.split()[-1] in pages) and command.help, path
        for option in command.params:
            if isinstance(option, click.Option) and option.name not in COMMON_OPTIONS:
                assert option.help and any(word in pages for word in option.opts + option.secondary_opts), (
                    path,
                    option.opts,
                )


@pytest.mark.parametrize("really", [False, pytest.param(True, marks=pytest.mark.sweep)], ids=["looked-at", "flashed"])
def test_from_a_stock_board_to_an_update(shell, really):
    """With `really`, a board is flashed. The 2.4 MB take most of the time, so `make test` does only a dry run."""
    rom = pytest.importorskip("esp32_mock_bootloader")
    product = re.search(r'"product": "(.+)"', shell.run(the_command("ioto product new")))[1]
    shell.run(the_command("ioto cloud certificate"))
    shell.run(the_command("ioto keys new"))
    serve = the_command("ioto cloud serve").replace("0.0.0.0", "127.0.0.1").replace("8443", "0")
    port = re.search(r":(\d+), ", shell.start(serve, "device cloud at https")[1])[1]

    shell.run(the_command("ioto init").replace("PRODUCT-ID", product))
    with rom.mock_bootloader("esp32") as chip:
        flash = the_command("ioto flash").replace("/dev/ttyUSB0", chip.url()) + " --no-stub --before no-reset"
        flashed = shell.run(flash + (" --yes" if really else " --dry-run"))
    assert flashed.count("Hash of data verified") == (5 if really else 0) and "MicroPython 1.25.0" in flashed
    shell.run("ioto image %s thermo -o board.flash" % STOCK)

    going, line = shell.start(
        "ioto board run board.flash --serial --peer 192.168.1.10:8443=127.0.0.1:%s" % port, "serial port"
    )
    usb = line.split()[-1]
    log, _ = shell.start(the_command("ioto board log").replace("/dev/ttyUSB0", usb))
    wait_for_version(shell, "1.0.0")
    assert log.poll() is None
    log.kill()
    shell.run(the_command("ioto publish"))
    settings = json.loads((shell.folder / "thermo" / "ioto.json").read_text())
    settings["update"].update(period="1 sec", jitter=0, apply="anytime")
    (shell.folder / "thermo" / "ioto.json").write_text(json.dumps(settings))
    assert "1 file copied" in shell.run(the_command("ioto deploy").replace("/dev/ttyUSB0", usb))
    log, _ = shell.start(the_command("ioto board log").replace("/dev/ttyUSB0", usb), "boot is trial: ota_1 1.1.0")
    read_lines_until(log, "confirmed 1.1.0")  # printed by its main.py
    wait_for_version(shell, "1.1.0")


def wait_for_version(shell, version):
    """Wait until the only device has reported this version to the cloud."""
    for _ in range(LIMIT_S * 2):
        found = json.loads(shell.run(the_command("ioto devices") + " --json"))
        if [each["version"] for each in found] == [version]:
            return
        threading.Event().wait(0.3)
    raise AssertionError(found)
