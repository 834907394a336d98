"""MicroPython's `select`, which waits in the hardware: simulated time passes while the CPU is idle."""

import time

import _bus
import uselect

POLLIN, POLLOUT, POLLERR, POLLHUP = uselect.POLLIN, uselect.POLLOUT, uselect.POLLERR, uselect.POLLHUP


class poll:
    def __init__(self):
        self._poll = uselect.poll()
        self._known = 0
        self.register = self._poll.register
        self.modify = self._poll.modify
        self.unregister = self._poll.unregister

    # The ready streams; each is polled by its own ioctl, so streams over streams (TLS) work.
    def poll(self, timeout=-1):
        if _bus.look:  # counts as a use of the hardware, even without a request
            _bus.look()
        until = None if timeout < 0 else time.ticks_add(time.ticks_ms(), timeout)
        while True:
            ready = self._poll.poll(0)
            if ready:
                return ready
            left = -1 if until is None else time.ticks_diff(until, time.ticks_ms())
            if until is not None and left <= 0:
                return ready
            _bus.wait(71, left * 1000)

    def ipoll(self, timeout=-1, flags=0):
        return iter(self.poll(timeout))
