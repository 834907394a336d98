"""Uptime in seconds, correct even after ticks_ms() wraps around (12 days on an ESP32).

uptime_s() must be called at least once in six days; the agent's loop calls it every minute.
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
