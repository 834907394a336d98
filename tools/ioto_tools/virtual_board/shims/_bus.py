"""The CPU's end of the bus: call(op, a, b, data) sends a request and waits for the reply (see virtual_board/bus.py)."""

import struct
import sys

_REQUEST = "<HqqqI"
_REPLY = "<qqI"
_AGAIN = struct.pack(_REQUEST, 38, 0, 0, 0, 0)  # the only request without a reply
_INTERRUPT = 1 << 31  # in the length of a reply: Ctrl-C was typed
_head = bytearray(struct.calcsize(_REPLY))

simulated = sys.argv[2] == "simulated"
now_us = 0  # the hardware's clock at the last reply
holding = True  # interrupts wait until a program runs
held = False  # an interrupt waits
_broken_into = False  # an interrupt came during an exchange
_in_c = False  # in a function that is C on the chip, see whole()
_deferred = False  # an interrupt came in that function
_asked = False  # the hardware was asked to repeat that interrupt
cpu_us = 0  # simulated time that the CPU has used since the last reply
look = None  # called before each use of the hardware, see _heap.py
used = None  # called after it
_file = open(int(sys.argv[1]), "r+b")


# (status, data) of the reply. With `into` the data is read into it and must fit; `data` is then its length.
def call(op, a=0, b=0, data=b"", into=None):
    global now_us, cpu_us, _asked
    if _asked and not _in_c:
        _asked = False
        call(0)  # the interrupt arrives before the end of this request
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


# A program runs from now on: raise interrupts in it, and one that came before at once.
def release():
    global holding, held
    holding = False
    if not simulated:
        call(0, 1)  # the hardware may interrupt it from now on
    if held:
        held = False
        raise KeyboardInterrupt


# The program has ended: an interrupt that is too late for it has no effect.
def hold():
    global holding
    holding = True
    if not simulated:
        call(0, 2)


# Wrap `method` so that an interrupt does not leave it incomplete; the interrupt comes again afterwards.
#
# Otherwise littlefs, which calls the flash driver, would use data that was never read.
def whole(method):
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
                    sum(range(20000))  # it comes while C computes, and is raised when Python continues
                return found
            except KeyboardInterrupt:  # from the hardware
                _deferred = True
            except BaseException:
                _in_c = False
                raise

    return called


# (status, time, whether Ctrl-C was typed, data) of the reply.
#
# An interrupt does not end an exchange: the rest of its reply would be read as the reply of the next request.
def _exchange(request, data, into):
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
                    if not n:  # the hardware has exited: the signal of this write ends the CPU too
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


timers = []  # running machine.Timer objects; each has `at_us` and `fire()`


# Wait with `op` for at most `us` (negative: forever), or until a timer is due; then run the due timers.
def wait(op, us):
    for timer in timers:
        left_us = max(1, timer.at_us - ticks_us())
        if us < 0 or left_us < us:
            us = left_us
    call(op, us)
    for timer in list(timers):
        if timer in timers and timer.at_us <= ticks_us():
            timer.fire()


# Time as the CPU sees it. Each call uses a little simulated time, so that time passes in a busy loop.
def ticks_us():
    global cpu_us
    cpu_us += 5
    return now_us + cpu_us
