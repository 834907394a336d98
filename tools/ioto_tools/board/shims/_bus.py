"""The CPU's end of the bus: call(op, a, b, data) asks the hardware and blocks for the reply (see board/bus.py)."""

import struct
import sys

_REQUEST = "<HqqqI"
_REPLY = "<qqI"
_head = bytearray(struct.calcsize(_REPLY))

simulated = sys.argv[2] == "simulated"
now_us = 0  # of the hardware's clock, as of the last reply
cpu_us = 0  # simulated time that the CPU itself has used since then
_file = open(int(sys.argv[1]), "r+b")


def call(op, a=0, b=0, data=b"", into=None):
    """(status, data): data of the reply is read into `into` where that is given (it must fit), else returned as bytes."""
    global now_us, cpu_us
    _file.write(struct.pack(_REQUEST, op, a, b, cpu_us, len(data)))
    if data:
        _file.write(data)
    _fill(_head)
    status, now_us, n = struct.unpack(_REPLY, _head)
    cpu_us = 0
    if into is not None and status >= 0:
        if n:
            _fill(memoryview(into)[:n])
        return status, n
    reply = bytearray(n)
    if n:
        _fill(reply)
    return status, bytes(reply)


def _fill(buf):
    have = _file.readinto(buf)
    view = memoryview(buf)
    while have < len(buf):
        have += _file.readinto(view[have:])


def ticks_us():
    """Time as the CPU sees it. Simulated, each look at the clock costs a little, so that a busy loop sees it move."""
    global cpu_us
    cpu_us += 5
    return now_us + cpu_us
