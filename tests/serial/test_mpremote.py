"""The unmodified mpremote at the virtual board's serial port."""

import hashlib
import time

import pytest
import serial
from ioto_command import command


def mpremote(port, *words):
    done = command("mpremote", "connect", port, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.sweep
def test_exec_eval_and_exceptions(port):
    assert mpremote(port, "exec", "print(6 * 7)") == "42\n"
    assert mpremote(port, "eval", "__import__('esp32').Partition(1).info()[4]") == "ota_0\n"
    failed = command("mpremote", "connect", port, "exec", "print('a')\n1 / 0")
    trace = (
        'a\nTraceback (most recent call last):\n  File "<stdin>", line 2, in <module>\nZeroDivisionError: '
        "divide by zero\n"
    )
    assert failed.returncode == 1 and failed.stdout == trace, failed
    assert "SyntaxError" in command("mpremote", "connect", port, "exec", "x = = 1").stdout
    assert (
        mpremote(port, "resume", "exec", "left_over = 5") == ""
        and mpremote(port, "resume", "eval", "left_over") == "5\n"
    )
    assert "NameError" in command("mpremote", "connect", port, "eval", "left_over").stdout  # after a soft reset


@pytest.mark.sweep
def test_files_with_any_bytes_are_copied_both_ways(port, tmp_path):
    raw = bytes(range(256)) * 8 + b"\r\n\x01\x02\x03\x04\x05\n"
    (tmp_path / "any.bin").write_bytes(raw)
    mpremote(port, "fs", "cp", str(tmp_path / "any.bin"), ":any.bin")
    assert hashlib.sha256(raw).hexdigest() in mpremote(port, "fs", "sha256sum", ":any.bin")
    mpremote(port, "fs", "cp", ":any.bin", str(tmp_path / "back.bin"))
    assert (tmp_path / "back.bin").read_bytes() == raw
    mpremote(port, "fs", "mkdir", ":d")
    mpremote(port, "fs", "cp", ":any.bin", ":d/b.bin")
    assert "b.bin" in mpremote(port, "fs", "ls", ":d") and "any.bin" in mpremote(port, "fs", "tree")
    mpremote(port, "fs", "rm", "-r", ":d")
    assert "d/" not in mpremote(port, "fs", "ls").split()


def test_a_package_is_installed(port, tmp_path):
    """`mip install` reads a package.json on this machine, and mpremote copies the files."""
    (tmp_path / "thing.py").write_text("answer = 42\n")
    (tmp_path / "package.json").write_text('{"urls": [["thing/__init__.py", "thing.py"]], "version": "1"}')
    mpremote(port, "mip", "install", "--no-mpy", "--target", "/lib", str(tmp_path / "package.json"))
    assert mpremote(port, "exec", "import thing; print(thing.answer)") == "42\n"


def test_a_large_file_of_this_machine_runs(port, tmp_path):
    (tmp_path / "run.py").write_text("".join("x%d = %d\n" % (n, n) for n in range(600)) + "print(x599)\n")
    assert mpremote(port, "run", str(tmp_path / "run.py")) == "599\n"


def talk(port, *steps):
    """In each step, type bytes and wait for bytes; return all output."""
    got = b""
    with serial.Serial(port, 115200, timeout=0.05) as line:
        for typed, wanted in steps:
            line.write(typed)
            end = time.monotonic() + 10
            mark = len(got)
            while wanted not in got[mark:]:
                assert time.monotonic() < end, (wanted, got[-300:])
                got += line.read(1000)
    return got


def test_the_friendly_prompt(port):
    got = talk(
        port, (b"\x03", b">>> "), (b"1 + 1\r", b"2\r\n>>> "), (b"x = 'ab\x7fc'\r", b">>> "), (b"x\r", b"'ac'\r\n"),
        (b"for i in range(2):\r", b"... "), (b"    print('n', i)\r\r", b"n 1\r\n"), (b"nonsense\r", b"NameError"),
        (b"\x05", b"=== "), (b"y = 3\nprint(y * 2)\n\x04", b"6\r\n"), (b"half\x03", b">>> "), (b"\x02",
            b"MicroPython v"),
    )  # fmt: skip
    assert b"Traceback" in got


def test_ctrl_c_stops_any_program(port):
    talk(
        port, (b"\x03", b">>> "), (b"while True: pass\r\r", b"... "), (b"", b""), (b"\x03", b"KeyboardInterrupt"),
        (b"import time; time.sleep(1000)\r", b"\n"), (b"\x03", b"KeyboardInterrupt"),
        (b"import asyncio; asyncio.run(asyncio.Event().wait())\r", b"\n"), (b"\x03", b"KeyboardInterrupt"),
            (b"2 * 21\r", b"42\r\n"),
    )  # fmt: skip


def test_soft_reset_runs_main_again_but_not_in_raw_mode(port):
    got = talk(port, (b"\x03", b">>> "), (b"\x04", b"boot is idle"))
    assert b"MPY: soft reboot\r\n" in got
    got = talk(
        port,
        (b"\r\x03\x01", b"raw REPL; CTRL-B to exit\r\n>"),
        (b"\x04", b"soft reboot\r\nraw REPL; CTRL-B to exit\r\n>"),
    )
    assert b"boot is" not in got.split(b"soft reboot")[1]
    talk(
        port,
        (b"\x05A\x01", b"R\x01\x80\x00\x01"),
        (b"print('pasted')\x04", b"\x04pasted\r\n\x04\x04>"),
        (b"\x02", b">>> "),
    )


def test_ctrl_c_at_any_moment_of_a_start_reaches_the_prompt(port):
    """A user who waits for the prompt presses Ctrl-C again and again."""
    talk(port, (b"\x03", b">>> "))
    for n in range(12):
        with serial.Serial(port, 115200, timeout=0) as line:
            line.write(b"\x04")
            for _ in range(n + 6):
                time.sleep(0.012 + n / 4000)
                line.write(b"\x03")
        talk(port, (b"\x03", b">>> "), (b"6 * 7\r", b"42\r\n"))
