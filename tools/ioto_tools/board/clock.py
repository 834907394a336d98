"""The board's clocks, simulated or real: microseconds since power-on and the RTC's time of day."""

import calendar
import time

EPOCH_2000_S = 946684800
# asyncio's task queue in C takes the host's milliseconds: the board's time must always be later.
_AHEAD_US = 10**15


class Clock:
    """`now_us` advances only by advance() if simulated, by itself if real. The RTC counts seconds since 2000-01-01."""

    def __init__(self, real: bool = False) -> None:
        self.real = real
        self._simulated_us = 0
        self._began = time.monotonic_ns() // 1000
        self.rtc_offset_us = 0  # RTC = now_us + this, from 2000-01-01

    @property
    def now_us(self):
        return time.monotonic_ns() // 1000 - self._began if self.real else self._simulated_us

    @property
    def ticks_us(self):
        """The time as the CPU sees it: always ahead of the host's counter."""
        return self.now_us + _AHEAD_US

    def advance(self, us) -> None:
        if self.real:
            time.sleep(us / 1e6)
        else:
            self._simulated_us += int(us)

    def rtc_s(self):
        return (self.now_us + self.rtc_offset_us) // 1000000

    def set_rtc(self, seconds_2000) -> None:
        self.rtc_offset_us = int(seconds_2000) * 1000000 - self.now_us

    def set_unix(self, unix_s) -> None:
        self.set_rtc(unix_s - EPOCH_2000_S)

    def unix_s(self):
        return self.rtc_s() + EPOCH_2000_S

    def power_cut(self) -> None:
        """Reset the RTC to 2000-01-01."""
        self.rtc_offset_us = -self.now_us

    def words(self):
        return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(self.unix_s()))


def seconds_2000(y, mo, d, h, mi, s):
    return calendar.timegm((y, mo, d, h, mi, s)) - EPOCH_2000_S
