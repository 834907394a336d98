"""The diary of a trial: the last log lines, in the RTC memory, which survives every reset except a power cut.

The application may use this memory too: it is used only if it is empty or contains a diary. Source: MicroPython
ports/esp32/machine_rtc.c.
"""

import machine

from .log import also
from .uptime import uptime_s

_MAGIC = b"ioto\x01\n"
_MOST_BYTES = 1000
_LINE_BYTES = 200


def start(is_second):
    """Write each log message to the diary from now on, after the lines of the trial's earlier starts, if there are any.

    `is_second`: the image was started again because the bootloader does not roll back.
    """
    try:
        kept = _memory()
        if kept is None:
            return
        if not (is_second or machine.reset_cause() in (machine.SOFT_RESET, machine.DEEPSLEEP_RESET)):
            machine.RTC().memory(_MAGIC)
        also.append(_write)
    except (AttributeError, ValueError):  # a build without this memory, or with less
        pass


def stop():
    """End the diary, and leave the memory empty."""
    also.clear()
    try:
        if _memory():
            machine.RTC().memory(b"")
    except AttributeError:
        pass


def read():
    """The lines, oldest first, as bytes; b"" if there are none."""
    try:
        return (_memory() or b"")[len(_MAGIC) :]
    except AttributeError:
        return b""


def _memory():
    """The memory with the magic in front, b"" if it is empty, None if it belongs to the application."""
    kept = machine.RTC().memory()
    return kept if not kept or kept[: len(_MAGIC)] == _MAGIC else None


def _write(level, message):
    # Runs in every log(): it must neither raise nor log. Of a traceback, which is stored elsewhere, only the last line.
    try:
        kept = _memory()
        if kept is None:
            return
        line = "%d %s %s" % (uptime_s(), level, message.strip().split("\n")[-1])
        kept = kept[len(_MAGIC) :] + line.encode()[:_LINE_BYTES] + b"\n"
        while len(kept) > _MOST_BYTES:
            kept = kept[kept.find(b"\n") + 1 :]
        machine.RTC().memory(_MAGIC + kept)
    except (MemoryError, ValueError, AttributeError):
        pass
