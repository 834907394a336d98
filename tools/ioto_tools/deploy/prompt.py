"""Run Python code and write files on a board at its REPL, the MicroPython prompt, through mpremote's transport."""

import errno
import io
import json
import struct
import time
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from types import TracebackType
from typing import Any, Self

from mpremote.transport import TransportError
from mpremote.transport_serial import SerialTransport

from ..image.firmware import MIN_MICROPYTHON
from . import serial_port as ports

_ANSWER_S = 10  # a board that is silent for this long is gone
_WRITE_BYTES = 1024  # bytes of a file in one write; as a literal, they are up to four times as long
_RESET_LIMIT_S = 30  # limit for a reset
_RETRY_S = 0.4  # between two attempts to reach the board
_LAST_OUTPUT_S = 3  # wait for the last output before the reset; some ports lose it
# The Ctrl-C characters that are sent to get the prompt must not interrupt the code that resets the board.
_IGNORE_CTRL_C = "import micropython\nmicropython.kbd_intr(-1)\nprint('going')\n"
# The agent's watchdog would reset a board whose application was interrupted. It can't be disabled, so it gets a day.
_RELAX_WATCHDOG = "import sys\nif 'ioto.agent' in sys.modules:\n import machine\n machine.WDT(timeout=86400000)\n"
_CTRL_C_PAUSE_S = 0.02  # between two Ctrl-C characters, one of which must arrive during boot.py
_CTRL_C_TIMES = 10
_CONNECTION_LOST = (*ports.CONNECTION_LOST, TransportError, struct.error)  # struct.error: an incomplete answer


class PromptError(Exception):
    """The board does not answer or reports an error; the text names the port and what to do."""


class Prompt:
    """`with Prompt(port) as board:` interrupts the running program, and restarts the application at the end.

    `port` is a serial device, a pseudo terminal, socket://HOST:PORT or rfc2217://HOST:PORT. `wait_s`: keep trying this
    long, for a board that sleeps or whose application ignores Ctrl-C. `reset`: reset the board first, with the port's
    RTS and DTR.
    """

    def __init__(self, port: str, wait_s: float = 0, reset: bool = False) -> None:
        self.port, self.wait_s, self.reset = port, wait_s, reset
        self.line: Any = None  # mpremote's SerialTransport while the port is open

    def __enter__(self) -> Self:
        try:
            if self.reset or not self.wait_s:
                self._open()
            if self.reset:
                self._reset()
            self._keep_trying(self.wait_s or (_RESET_LIMIT_S if self.reset else _ANSWER_S))
            self.run(_RELAX_WATCHDOG)
        except _CONNECTION_LOST:
            self._close()
            raise PromptError(_NO_PROMPT % self.port) from None
        except BaseException:
            self._close()
            raise
        return self

    def _open(self) -> None:
        try:
            self.line = SerialTransport(self.port, baudrate=115200, timeout=_ANSWER_S)
        except (TransportError, ValueError) as e:  # mpremote does not pass on the reason
            raise PromptError(ports.diagnose(self.port) or "%s: %s" % (self.port, e)) from None

    def _reset(self) -> None:
        """Reset the board as esptool does: RTS asserts the chip's reset, DTR off makes it start its program."""
        try:
            self.line.serial.dtr = False
            self.line.serial.rts = True
            time.sleep(0.1)
            self.line.serial.rts = False
        except OSError as e:
            if e.errno not in (errno.ENOTTY, errno.EINVAL):  # native USB: the port disappears at the reset
                return
            raise PromptError(
                "%s: this port can't reset the board: use `--wait 60` and press the board's reset button" % self.port
            ) from None

    def _keep_trying(self, limit_s: float) -> None:
        """Get to the prompt within `limit_s`.

        After a wake-up or reset, Ctrl-C arrives during boot.py, before main.py can ignore it.
        """
        end = time.monotonic() + limit_s
        while not self._try_prompt():
            if time.monotonic() > end:
                why = "" if self.line else ports.diagnose(self.port)
                words = (
                    _NO_PROMPT_IN_TIME % (self.port, limit_s) if self.wait_s or self.reset else _NO_PROMPT % self.port
                )
                raise PromptError(why or words)
            self._send_ctrl_c()

    def _send_ctrl_c(self) -> None:
        with suppress(*_CONNECTION_LOST):
            for _ in range(_CTRL_C_TIMES):
                self.line.serial.write(b"\x03")
                time.sleep(_CTRL_C_PAUSE_S)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind:
                self.line.serial.write(b"\r\x03\x03")  # interrupt what is running
            self.line.exit_raw_repl()
            self.line.serial.write(b"\x04")  # soft reset: a hard reset would roll back an image on trial
        except _CONNECTION_LOST:  # the port is gone already
            pass
        finally:
            self._close()

    def _close(self) -> None:
        if self.line:
            with suppress(*_CONNECTION_LOST):
                self.line.close()
        self.line = None

    def run(self, source: str, limit_s: float = _ANSWER_S) -> str:
        """Run `source`; returns its output as text. An exception on the board raises PromptError with its last line.

        `limit_s` is the maximum time without output.
        """
        try:
            answer, failed = self.line.exec_raw(source, limit_s)
        except _CONNECTION_LOST as e:
            raise PromptError("%s: the connection was lost: %s. Plug the board in and try again" % (self.port, e))
        if failed:
            lines = [line for line in failed.decode("utf-8", "replace").splitlines() if line.strip()]
            raise PromptError("%s: the board reports: %s" % (self.port, lines[-1] if lines else "nothing"))
        return answer.decode("utf-8", "replace")

    def run_json(self, source: str) -> dict[str, Any]:
        """Run `source`, and decode the JSON that it prints."""
        answer = self.run(source)
        try:
            return json.loads(answer[answer.index("{") :])
        except ValueError:
            raise PromptError("%s: invalid answer from the board: %r" % (self.port, answer[:80]))

    def soft_reset(self) -> None:
        """Soft reset to a prompt with no modules imported; main.py does not run."""
        try:
            with redirect_stdout(io.StringIO()):
                self.line.enter_raw_repl(soft_reset=True)
        except _CONNECTION_LOST as e:
            raise PromptError("%s: no prompt after a soft reset: %s" % (self.port, e))

    def restart(self, source: str) -> None:
        """Run `source`, which resets the board, and return to the prompt soon after its application starts.

        A USB port that disappears with the reset is reopened. PromptError if the board does not answer in time, or was
        not reset.
        """
        self.run("before_the_reset = 1")
        try:
            self.line.exec_raw_no_follow(_IGNORE_CTRL_C + source)
            self.line.read_until(1, b"going\r\n", timeout_overall=_LAST_OUTPUT_S)
        except _CONNECTION_LOST:  # the port disappeared with the reset
            pass
        end = time.monotonic() + _RESET_LIMIT_S
        while not self._try_prompt():
            if time.monotonic() > end:
                raise PromptError("%s: the board does not answer %d s after its reset" % (self.port, _RESET_LIMIT_S))
        if "before_the_reset" in self.run("print(dir())"):
            raise PromptError("%s: the board was not reset" % self.port)

    def _try_prompt(self) -> bool:
        """Try once to get to the prompt; returns whether the board answers."""
        try:
            if not self.line:
                self._open()
            with redirect_stdout(io.StringIO()):
                self.line.enter_raw_repl(soft_reset=False, timeout_overall=_RETRY_S)
            # Answers to earlier attempts may still arrive: only the output after a unique word is new.
            word = "back %d" % time.monotonic_ns()
            self.line.serial.write(b"print('%s')\x04" % word.encode())
            if not self.line.read_until(1, word.encode() + b"\r\n\x04\x04>", _ANSWER_S).endswith(b">"):
                return False
            self.line.serial.write(b"\x01")
            self.line.read_until(1, b"CTRL-B to exit\r\n", _ANSWER_S)
            return True
        except TransportError:
            return False
        except (*_CONNECTION_LOST, PromptError):
            self._close()
            time.sleep(_RETRY_S)
            return False

    def write(self, path: str, raw: bytes, progress: Callable[[int], None] = lambda n: None) -> None:
        """Write a file; `progress(n)` is called after each piece of n bytes."""
        self.run("f = open(%r, 'wb')\nw = f.write\n" % path)
        for at in range(0, len(raw), _WRITE_BYTES):
            piece = raw[at : at + _WRITE_BYTES]
            self.run("w(%r)\n" % piece)
            progress(len(piece))
        self.run("f.close()\n")

    def identify(self) -> dict[str, Any]:
        """{version, machine, platform, mpy} of the board; PromptError if its MicroPython is too old for the agent."""
        answer = self.run_json(_IDENTIFY)
        if tuple(answer["version"][:2]) < MIN_MICROPYTHON:
            words = ".".join(str(n) for n in answer["version"][:3])
            raise PromptError(
                "%s: MicroPython %s; the agent needs %d.%d or later: `ioto flash` installs one"
                % ((self.port, words) + MIN_MICROPYTHON)
            )
        return answer


_NO_PROMPT = """%s: no MicroPython prompt there. Is it the right port? If it is:
  A board that sleeps answers only while it is awake, and an application may ignore Ctrl-C. `--wait 60` keeps trying
  for a minute: press the board's reset button meanwhile, or wait until it wakes.
  `--reset` resets the board over the cable, if the port supports it.
  If its boot.py sets SAFE_PIN, hold that pin low while the board starts: safe mode does not run main.py."""
_NO_PROMPT_IN_TIME = """%s: no MicroPython prompt within %d s.
  Is it the right port? If it is: try again and press the board's reset button meanwhile.
  In safe mode main.py does not run: hold the board's SAFE_PIN low while it starts, if its boot.py names one, or reset
  it six times, each time within ten seconds."""
_IDENTIFY = """
import sys, os, json
i = sys.implementation
u = os.uname() if hasattr(os, "uname") else (sys.platform, getattr(i, "_machine", ""))
print(json.dumps({"version": list(i.version), "machine": u[-1], "platform": u[0], "mpy": getattr(i, "_mpy", 0) & 255}))
"""
