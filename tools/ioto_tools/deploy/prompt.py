"""A board at its MicroPython prompt, through mpremote's own transport: run a piece of Python there, write a file there."""

import json

import serial
from mpremote.transport import TransportError, TransportExecError
from mpremote.transport_serial import SerialTransport

LEAST = (1, 24)  # MicroPython
_ANSWER_S = 10  # a board that says nothing for so long is gone


class PromptError(Exception):
    """The board does not answer, or says no; the text names the port and what to do."""


class Prompt:
    """`with Prompt(port) as board:` interrupts what runs, and starts the application again at the end.

    `port` is a serial device, a pseudo terminal, socket://HOST:PORT or rfc2217://HOST:PORT.
    """

    def __init__(self, port):
        self.port = port

    def __enter__(self):
        try:
            self.line = SerialTransport(self.port, baudrate=115200, timeout=_ANSWER_S)
        except TransportError:
            raise PromptError("%s: can't be opened: is the board plugged in, is another program (a terminal, Thonny) using it?" % self.port)
        try:
            self.line.enter_raw_repl(soft_reset=False)
        except (TransportError, OSError) as e:
            self._close()
            raise PromptError("%s: no MicroPython prompt there (%s): is it the right port? Press the board's reset button" % (self.port, e))
        return self

    def __exit__(self, kind, value, trace):
        try:
            if kind is None or issubclass(kind, PromptError):
                self.line.exit_raw_repl()
                self.line.serial.write(b"\x04")  # soft: a hard reset would roll back an image on trial
        except (TransportError, OSError):  # gone already
            pass
        finally:
            self._close()

    def _close(self):
        try:
            self.line.close()
        except OSError:
            pass

    def run(self, source):
        """Run `source`; returns what it printed, as text. PromptError carries the board's exception."""
        try:
            return self.line.exec(source).decode()
        except TransportExecError as e:
            lines = [line for line in e.error_output.splitlines() if line.strip()]
            raise PromptError("%s: the board says: %s" % (self.port, lines[-1] if lines else "nothing"))
        except (TransportError, OSError, serial.SerialException, TypeError) as e:  # TypeError: pyserial's, of a port that is gone
            raise PromptError("%s: the line is gone: %s. Plug it in and start again" % (self.port, e))

    def ask(self, source):
        """The JSON that `source` prints, decoded."""
        told = self.run(source)
        try:
            return json.loads(told[told.index("{") :])
        except ValueError:
            raise PromptError("%s: the board's answer makes no sense: %r" % (self.port, told[:80]))

    def write(self, path, raw, progress=lambda n: None):
        """Write a file; `progress(n)` is told of each piece of n bytes."""
        self.run("f = open(%r, 'wb')\nw = f.write\n" % path)
        for at in range(0, len(raw), 512):
            piece = raw[at : at + 512]
            self.run("w(%r)\n" % piece)
            progress(len(piece))
        self.run("f.close()\n")

    def identify(self):
        """{version, machine, platform, mpy} of the board; PromptError where its MicroPython is too old for the agent."""
        told = self.ask(_IDENTIFY)
        if tuple(told["version"][:2]) < LEAST:
            words = ".".join(str(n) for n in told["version"][:3])
            raise PromptError("%s: MicroPython %s; the agent needs %d.%d: `ioto flash` puts a newer one on it" % ((self.port, words) + LEAST))
        return told


_IDENTIFY = """
import sys, os, json
i = sys.implementation
print(json.dumps({"version": list(i.version), "machine": getattr(i, "_machine", ""), "platform": sys.platform, "mpy": getattr(i, "_mpy", 0) & 255}))
"""
