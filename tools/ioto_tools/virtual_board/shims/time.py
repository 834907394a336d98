"""MicroPython's `time` on the hardware's clock; the ESP32 port counts from 2000-01-01."""

import _bus
import utime

_EPOCH_2000_S = 946684800

ticks_add = utime.ticks_add
ticks_diff = utime.ticks_diff

if _bus.simulated:

    def ticks_ms():
        return _bus.ticks_us() // 1000

    def ticks_us():
        return _bus.ticks_us()

else:
    ticks_ms = utime.ticks_ms
    ticks_us = utime.ticks_us

ticks_cpu = ticks_us


def sleep_us(us):
    end_us = _bus.ticks_us() + us
    while True:
        _bus.wait(33, max(0, us))
        us = end_us - _bus.ticks_us()
        if us <= 0 or not _bus.timers:
            break


def sleep_ms(ms):
    sleep_us(ms * 1000)


def sleep(seconds):
    sleep_us(int(seconds * 1000000))


def time():
    return _bus.call(20)[0] // 1000000


def time_ns():
    return (_bus.call(20)[0] + _EPOCH_2000_S * 1000000) * 1000


def gmtime(seconds=None):
    return utime.gmtime((time() if seconds is None else seconds) + _EPOCH_2000_S)[:8]


localtime = gmtime


def mktime(fields):
    y, mo, d, h, mi, s = fields[:6]
    y -= mo <= 2
    era = y // 400
    yoe = y - era * 400
    doy = (153 * (mo + (-3 if mo > 2 else 9)) + 2) // 5 + d - 1
    days = era * 146097 + yoe * 365 + yoe // 4 - yoe // 100 + doy - 719468
    return days * 86400 + h * 3600 + mi * 60 + s - _EPOCH_2000_S
