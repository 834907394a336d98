"""The board's clock, simulated or real: microseconds since power-on, and the RTC."""

import time

# asyncio's task queue in C uses the host's millisecond counter: the board's time must always be ahead of it.
_AHEAD_US = 10**15


class Clock:
    """If simulated, `now_us` advances only by advance(); if real, it advances by itself."""

    def __init__(self, real: bool = False) -> None:
        self.real = real
        self._simulated_us = 0
        self._began = time.monotonic_ns() // 1000
        self.rtc_offset_us = 0  # time of the RTC, counted from 2000-01-01, minus `now_us`

    @property
    def now_us(self) -> int:
        return time.monotonic_ns() // 1000 - self._began if self.real else self._simulated_us

    @property
    def ticks_us(self) -> int:
        """The time as the CPU sees it: always ahead of the host's counter."""
        return self.now_us + _AHEAD_US

    def advance(self, us: float) -> None:
        if self.real:
            time.sleep(us / 1e6)
        else:
            self._simulated_us += int(us)

    def set_rtc(self, seconds_2000: int) -> None:
        self.rtc_offset_us = int(seconds_2000) * 1000000 - self.now_us

    def power_cut(self) -> None:
        """Reset the RTC to 2000-01-01."""
        self.rtc_offset_us = -self.now_us
