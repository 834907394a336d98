"""Behind the first boot of an image: the watchdog is fed while the loop runs, but no trial that outlives its time."""

import asyncio

from .uptime import uptime_s

_DAY_S = 86400  # it cannot be taken off again: a day is as good


class Watchdog:
    """`limit_s` without a meal resets the board (0, or a day and more: never); a trial is fed for `trial_s` at most."""

    def __init__(self, board, limit_s, trial_s):
        self.board = board
        self.limit_s = limit_s
        self.trial_s = trial_s
        self.end_s = None  # uptime

    def arm(self):
        if 0 < self.limit_s < _DAY_S:
            self.end_s = uptime_s() + self.trial_s
            self.board.watchdog(self.limit_s * 1000)
            asyncio.create_task(self._feed())
        else:
            self.disarm()

    def disarm(self):
        """Also where we never armed it: boot.py has, whatever the configuration says."""
        self.end_s = None
        self.board.watchdog(_DAY_S * 1000)

    async def _feed(self):
        # A loop that hangs feeds no more; nor is a trial fed whose tasks go on and on.
        while self.end_s is None or uptime_s() < self.end_s:
            self.board.feed()
            await asyncio.sleep(self.limit_s / 4)
