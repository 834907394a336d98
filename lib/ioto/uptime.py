"""Seconds since the start, past the point where ticks_ms() begins again (12 days on an ESP32).

Right as long as somebody asks once in six days; the agent's loop does each minute.
"""

import time

_ticks = time.ticks_ms()
_up_ms = 0


def uptime_s():
    global _ticks, _up_ms
    now = time.ticks_ms()
    _up_ms += time.ticks_diff(now, _ticks)
    _ticks = now
    return _up_ms // 1000
