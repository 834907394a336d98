"""Follow the output of a board on its serial port, across resets."""

import codecs
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import serial

from .serial_port import CONNECTION_LOST, PortError, open_port

_READ_S = 0.2
_REOPEN_S = 0.2  # between two attempts to open a port that is gone
_PARTIAL_LINE_S = 0.5  # wait for the rest of a line


def follow_output(port: str, say: Callable[[str], None]) -> Iterator[str]:
    """Yield the output as it arrives, forever: complete lines, or parts of slow ones.

    `say(text)` is called when the port disappears and when it is back. PortError if `port` can't be opened at first.
    """
    line = open_port(port, _READ_S)
    while True:
        try:
            yield from _read_texts(line)
        except CONNECTION_LOST:
            pass
        with suppress(*CONNECTION_LOST):
            line.close()
        say("the port is gone (reset or unplugged); waiting for it")
        line = _reopen(port)
        say("the port is back")


def _reopen(port: str) -> serial.Serial:
    while True:
        time.sleep(_REOPEN_S)
        with suppress(PortError):
            return open_port(port, _READ_S)


def _read_texts(line: serial.Serial) -> Iterator[str]:
    """Yield texts until the port is gone. Characters and line ends that a read splits are joined."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text, since = "", time.monotonic()
    while True:
        try:
            text += decoder.decode(line.read(max(1, line.in_waiting)))
        except CONNECTION_LOST:
            if text:
                yield text + "\n"
            raise
        whole, end, text = text.rpartition("\n")
        if end:
            yield whole + end
            since = time.monotonic()
        elif text and time.monotonic() - since > _PARTIAL_LINE_S:  # a prompt, a progress bar
            yield text
            text, since = "", time.monotonic()
