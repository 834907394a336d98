"""MicroPython's `machine`, as far as an agent and its application use it."""

import _bus

PWRON_RESET, HARD_RESET, WDT_RESET, DEEPSLEEP_RESET, SOFT_RESET = 1, 2, 3, 4, 5


def reset():
    _bus.call(16)


def soft_reset():
    _bus.call(17)


def deepsleep(ms=0):
    _bus.call(18, ms)


def lightsleep(ms=0):
    _bus.wait(33, ms * 1000)


def idle():
    _bus.wait(33, 1000)


def reset_cause():
    return _bus.call(24)[0]


def unique_id():
    return _bus.call(25)[1]


def freq(hz=None):
    return 160000000


class _Memory:
    def __getitem__(self, address):
        return _bus.call(37, address)[0]


mem32 = _Memory()


class WDT:
    _one = None

    def __new__(cls, id=0, timeout=5000):
        if WDT._one is None:
            WDT._one = object.__new__(cls)
        return WDT._one

    def __init__(self, id=0, timeout=5000):
        if timeout <= 0:
            raise ValueError("WDT timeout too short")
        _bus.call(19, timeout)

    def feed(self):
        _bus.call(19)


# One of the chip's four timers. Its callback runs while the program waits; on a chip, between two instructions.
class Timer:
    ONE_SHOT, PERIODIC = 0, 1
    _all = {}

    def __new__(cls, id, **options):
        if not 0 <= id < 4:
            raise ValueError("invalid Timer number")
        if id not in Timer._all:
            Timer._all[id] = object.__new__(cls)
        return Timer._all[id]

    def __init__(self, id, **options):
        if options:
            self.init(**options)

    def init(self, mode=PERIODIC, period=-1, callback=None, freq=0, hard=False):
        self.deinit()
        self._period_us = int(1000000 / freq) if freq else period * 1000
        self._mode, self._callback = mode, callback
        self.at_us = _bus.ticks_us() + self._period_us
        _bus.timers.append(self)

    def deinit(self):
        if self in _bus.timers:
            _bus.timers.remove(self)

    def fire(self):
        if self._mode == Timer.ONE_SHOT:
            self.deinit()
        else:
            self.at_us += self._period_us
        self._callback(self)


class RTC:
    def datetime(self, fields=None):
        import time

        if fields is None:
            y, mo, d, h, mi, s, wd, _ = time.gmtime()
            return (y, mo, d, wd, h, mi, s, _bus.call(20)[0] % 1000000)
        y, mo, d, _, h, mi, s = fields[:7]
        _bus.call(21, time.mktime((y, mo, d, h, mi, s)))

    def memory(self, data=None):
        if data is None:
            return _bus.call(22)[1]
        if len(data) > 2048:
            raise ValueError("buffer too long")
        _bus.call(23, 0, 0, bytes(data))


class Pin:
    IN, OUT, OPEN_DRAIN, PULL_UP, PULL_DOWN, IRQ_FALLING, IRQ_RISING = 1, 3, 7, 2, 1, 2, 1

    def __init__(self, id, mode=-1, pull=-1, value=None):
        self.id = id
        if value is not None:
            self.value(value)

    def value(self, level=None):
        if level is None:
            return _bus.call(28, self.id, -1)[0]
        _bus.call(28, self.id, 1 if level else 0)

    __call__ = value

    def on(self):
        self.value(1)

    def off(self):
        self.value(0)
