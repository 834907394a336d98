"""The CPU's end of the bus: call(op, a, b, data) asks the hardware and blocks for the reply (see board/bus.py)."""

import struct
import sys

_REQUEST = "<HqqqI"
_REPLY = "<qqI"
_AGAIN = struct.pack(_REQUEST, 38, 0, 0, 0, 0)  # the one request without a reply
_INTERRUPT = 1 << 31  # in the length of a reply: Ctrl-C was typed
_head = bytearray(struct.calcsize(_REPLY))

simulated = sys.argv[2] == "simulated"
now_us = 0  # of the hardware's clock, as of the last reply
holding = True  # an interrupt waits until there is a program to interrupt
held = False
_broken_into = False  # in the middle of an exchange
_in_c = False  # in a function that is C on the chip, see whole()
_deferred = False  # an interrupt came meanwhile
_asked = False  # for it to come again
cpu_us = 0  # simulated time that the CPU itself has used since then
look = None  # what is done before each use of the hardware, see _heap.py
used = None  # and after it
_file = open(int(sys.argv[1]), "r+b")


def call(op, a=0, b=0, data=b"", into=None):
    """(status, data): data of the reply is read into `into` where that is given (it must fit), else returned as
    bytes.
    """
    global now_us, cpu_us, _asked
    if _asked and not _in_c:
        _asked = False
        call(0)  # it has come by the end of this, here or before
    if look and op != 34:
        look()
    request = struct.pack(_REQUEST, op, a, b, cpu_us, len(data))
    status, now_us, interrupt, reply = _exchange(request, data, into)
    cpu_us = 0
    if interrupt or _broken_into:
        interrupted()
    found = status, bytes(reply) if into is None or status < 0 else len(reply)
    if used and op not in (34, 71):
        used()
    return found


def interrupted():
    global held, _broken_into, _deferred
    _broken_into = False
    if _in_c:
        _deferred = True
        return
    if not holding:
        raise KeyboardInterrupt
    held = True


def release():
    """From now on interrupts are the program's; one that came before is raised."""
    global holding, held
    holding = False
    if not simulated:
        call(0, 1)  # the hardware may break in from now on
    if held:
        held = False
        raise KeyboardInterrupt


def hold():
    """The program has ended: an interrupt that comes too late for it changes nothing."""
    global holding
    holding = True
    if not simulated:
        call(0, 2)


def whole(method):
    """`method`, which an interrupt does not leave half done: littlefs, which calls the flash's driver, would take what
    was never read for read. The interrupt comes again afterwards.
    """

    def called(*args):
        global _in_c, _deferred, _asked
        while True:
            try:
                _in_c = True
                found = method(*args)
                _in_c = False
                if _deferred:
                    _file.write(_AGAIN)
                    _deferred, _asked = False, True
                    sum(range(20000))  # it comes while C computes, and is raised where Python goes on
                return found
            except KeyboardInterrupt:  # the hardware broke in
                _deferred = True
            except BaseException:
                _in_c = False
                raise

    return called


def _exchange(request, data, into):
    """(status, time, was Ctrl-C typed?, data) of the reply. The hardware may break in: what is left of half an exchange
    would be taken for the next one's, so this goes on to its end.
    """
    global _broken_into
    buf, have, head = _head, 0, None
    while True:
        try:
            if request:
                _file.write(request)
                _file.write(data)
                request = b""
            while True:
                while have < len(buf):
                    n = _file.readinto(memoryview(buf)[have:])
                    have += n
                    if not n:  # the hardware is gone: so is the CPU, by this write's signal
                        _file.write(b"gone")
                if head:
                    return head + (buf,)
                status, now, n = struct.unpack(_REPLY, _head)
                interrupt = n & _INTERRUPT
                n &= ~_INTERRUPT
                reply = bytearray(n) if into is None or status < 0 else memoryview(into)[:n]
                buf, have, head = reply, 0, (status, now, interrupt)
        except KeyboardInterrupt:  # between two steps of this loop
            _broken_into = True


timers = []  # machine.Timer objects that run; each has `at_us` and `fire()`


def wait(op, us):
    """`op`, which lets simulated time pass, for `us` (negative: for ever) at the most; timers that are due run
    meanwhile.
    """
    for timer in timers:
        left_us = max(1, timer.at_us - ticks_us())
        if us < 0 or left_us < us:
            us = left_us
    call(op, us)
    for timer in list(timers):
        if timer in timers and timer.at_us <= ticks_us():
            timer.fire()


def ticks_us():
    """Time as the CPU sees it. Simulated, each look at the clock costs a little, so that a busy loop sees it move."""
    global cpu_us
    cpu_us += 5
    return now_us + cpu_us
