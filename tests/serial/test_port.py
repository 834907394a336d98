"""Faults of a serial port, and boards that do not reach the prompt at once."""

import os
import pty
import subprocess
import time
from contextlib import contextmanager

import pytest
import serial
from ioto_command import BIN, board, command
from ioto_tools.cli.printable import printable
from ioto_tools.deploy import serial_port as ports
from ioto_tools.deploy.prompt import Prompt, PromptError
from ioto_tools.virtual_board import Board

LIMIT_S = 30


@contextmanager
def terminal():
    """(master, path) of a pseudo terminal."""
    master, slave = pty.openpty()
    try:
        yield master, os.ttyname(slave)
    finally:
        os.close(slave)
        os.close(master)


def fault_for_nobody(path):
    """fault(path) for a user without permissions."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            os.write(write, ports.diagnose(path).encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    with open(read) as f:
        return f.read()


@pytest.mark.skipif(os.getuid() != 0, reason="gives a port to another group")
def test_a_port_without_permission_names_the_group_to_join():
    import grp

    with terminal() as (_, path):
        os.chown(path, 0, grp.getgrnam("dialout").gr_gid)
        os.chmod(path, 0o660)
        assert (
            "no permission to use it: it belongs to the group `dialout`: run `sudo usermod -a -G dialout "
            in fault_for_nobody(path)
        )
        os.chown(path, 0, 0)
        assert "no permission to use it: its mode is crw-rw----, owner 0" in fault_for_nobody(path)
        os.chmod(path, 0o666)
        assert fault_for_nobody(path) == ""


@pytest.mark.parametrize("port, words", [
    ("/dev/ttyNOWHERE", "there is no such port: is the board plugged in?"),
    ("/dev/null", "it is not a serial port"),
    ("/tmp", "it is not a serial port"),
    (__file__, "it is not a serial port"),
    ("socket://127.0.0.1:1", "Connection refused. Write socket://HOST:PORT"),
    ("socket://127.0.0.1", "Write socket://HOST:PORT"),
    ("rfc2217://127.0.0.1:1", "Connection refused. Write socket"),
    ("nonsense://a", "protocol 'nonsense' not known. Write socket"),
    ("socket://no.such.host.invalid:1", "Write socket://HOST:PORT"),
])  # fmt: skip
def test_the_fault_of_a_port_is_named(port, words):
    found = ports.diagnose(port)
    assert found.startswith("%s: " % port) and words in found


@pytest.mark.sweep
@pytest.mark.parametrize(
    "port, words", [("/dev/null", "it is not a serial port"), ("nonsense://a", "protocol 'nonsense' not known")]
)
def test_every_command_prints_the_fault(folder, port, words):
    for asked in (
        ["deploy", port, "--folder", folder],
        ["board", "info", port],
        ["board", "log", port],
        ["board", "test", port, "--yes"],
    ):
        done = command("ioto", *asked)
        last = done.stderr.splitlines()[-1]
        assert done.returncode == 1 and last.startswith("ioto ") and "%s: " % port in last and words in last, (
            done.stderr
        )


def read_until(stream, text):
    seen = b""
    while text not in seen:
        piece = os.read(stream.fileno(), 4096)
        assert piece, seen
        seen += piece
    return seen


def test_the_log_waits_for_a_port_that_disappears_with_a_reset(tmp_path):
    """The board has native USB: its port disappears, and returns under the same name."""
    port = tmp_path / "port"
    with terminal() as (master, path):
        port.symlink_to(path)
        log = subprocess.Popen([BIN / "ioto", "board", "log", port], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        while not read_until_written(master, b"before\r\n", log):
            pass
        port.unlink()
    read_until(log.stdout, b"the port is gone")
    time.sleep(0.5)  # long enough for more than one try
    with terminal() as (master, path):
        port.symlink_to(path)
        read_until(log.stdout, b"the port is back")
        os.write(master, b"after \x1b[2J\x1b]0;title\x07 \xc3\xa9\r\n")
        seen = read_until(log.stdout, b"\n")
        assert b"after \\x1b[2J\\x1b]0;title\\x07 \xc3\xa9\n" in seen and b"\x1b" not in seen
        log.kill()
        log.communicate()


def read_until_written(master, raw, log):
    """Write `raw`; return whether the log shows it. All that is written before the log reads is lost."""
    os.write(master, raw)
    time.sleep(0.1)
    os.set_blocking(log.stdout.fileno(), False)
    try:
        return b"before\n" in (os.read(log.stdout.fileno(), 4096) or b"")
    except BlockingIOError:
        return False
    finally:
        os.set_blocking(log.stdout.fileno(), True)


def test_control_characters_are_printed_as_escapes():
    assert printable("a\tb\n\x1b[31m\x9b1m\x07\r\nc\rd") == "a\tb\n\\x1b[31m\\x9b1m\\x07\nc\\rd"
    assert (
        printable("user\u202egnp.exe \u2028 \ud800 \u00e9 \U0001f600")
        == "user\\u202egnp.exe \\u2028 \\ud800 \u00e9 \U0001f600"
    )
    for code in [*range(0x20), *range(0x7F, 0xA0)]:
        assert (chr(code) in printable(chr(code))) == (chr(code) in "\t\n"), code


@pytest.mark.sweep
def test_no_command_prints_escape_sequences_of_a_board(flash, folder):
    it = Board(flash)
    it.write_files(
        {
            "boot.py": b"print('\\x1b]0;title\\x07 from the board')\n",
            "main.py": b"# \x1b[2J\nraise ValueError('\\x1b[3J')\n",
        }
    )
    it.close()
    result = [command("ioto", "board", "run", flash, "--simulated", "--seconds", "1")]
    with board(flash) as port:
        result += [command("ioto", "deploy", port, "--folder", folder), command("ioto", "board", "info", port)]
    for each in result:
        assert (
            each.returncode == 0
            and "\x1b]" not in each.stdout + each.stderr
            and "\x1b[2J" not in each.stdout + each.stderr
        ), each
    assert result[2].stdout.startswith("virtual board with ESP32, MicroPython ")
    assert (
        "\\x1b]0;title\\x07 from the board" in result[0].stdout
        and "\\x1b[3J" in result[0].stdout
        and "\\x1b[2J" in result[1].stderr
    )


DEAF = """
import machine, time
print("deaf")
until = time.ticks_add(time.ticks_ms(), 4000)
while True:
    try:
        while time.ticks_diff(until, time.ticks_ms()) > 0:
            time.sleep_ms(20)
        machine.reset()
    except KeyboardInterrupt:
        print("ignored")
"""
ASLEEP = "import machine\nmachine.deepsleep(2500)\n"


@pytest.mark.sweep
@pytest.mark.parametrize("main", [DEAF, ASLEEP], ids=["ignores Ctrl-C", "sleeps"])
def test_wait_reaches_a_board_that_ignores_ctrl_c_or_sleeps(flash, folder, main, monkeypatch):
    it = Board(flash)
    it.write_files({"main.py": main.encode()})
    it.close()
    (folder / "main.py").write_text("print('new')\n")
    with board(flash) as port:
        if main is DEAF:
            with serial.Serial(port, timeout=LIMIT_S) as line:  # while the board starts, Ctrl-C would work
                assert line.read_until(b"deaf").endswith(b"deaf")
            monkeypatch.setattr("ioto_tools.deploy.prompt._ANSWER_S", 0.5)  # instead of ten seconds
            with (
                pytest.raises(
                    PromptError, match="A board that sleeps answers only while it is awake, .*`--wait 60` keeps trying"
                ),
                Prompt(port),
            ):
                pass
        result = command("ioto", "deploy", port, "--folder", folder, "--force", "--wait", LIMIT_S, limit_s=2 * LIMIT_S)
        assert (
            result.returncode == 0
            and "1 file copied" in result.stdout
            and "press the board's reset button" in result.stderr
        ), result
    it = Board(flash)
    assert it.files()["main.py"] == b"print('new')\n"
    it.close()


@pytest.mark.sweep
def test_a_port_without_lines_to_reset_the_board(port):
    result = command("ioto", "board", "info", port, "--reset")
    assert result.returncode == 1 and "this port can't reset the board" in result.stderr
    with terminal() as (_, path):
        result = command("ioto", "board", "info", path, "--wait", "1")
    assert result.returncode == 1 and "no MicroPython prompt within 1 s" in result.stderr, result
