"""How often one token may ask: a bucket of requests for each, that fills up by itself. In memory, a worker for itself.

Each device has its own bucket, so that one that runs wild is held back and no other; a limit for all of them would be a way to
switch a fleet off. Who is held back is told for how long, and keeps its token.
"""

from .refusal import Refusal

PER_MINUTE = 60  # of a device: more than an update with all its reports
KEYS = 100_000  # buckets kept; the one that was not used for longest goes, and is full when it comes back


class Limits:
    """`per_minute` requests of each key on the average, so many at once at the most; 0: no limit. `clock` gives seconds."""

    def __init__(self, per_minute, clock):
        self.per_minute = per_minute
        self.clock = clock
        self._buckets = {}  # key -> (requests left, when), in the order of their last use

    def check(self, key):
        """Count one request of `key`. Refusal 429 when it had too many."""
        if not self.per_minute:
            return
        now_s = self.clock()
        left, then_s = self._buckets.pop(key, (self.per_minute, now_s))
        left = min(self.per_minute, left + max(0, now_s - then_s) * self.per_minute / 60)
        self._buckets[key] = (left - 1 if left >= 1 else left, now_s)
        if len(self._buckets) > KEYS:
            del self._buckets[next(iter(self._buckets))]
        if left < 1:
            raise Refusal(429, "too many requests: more than %d a minute" % self.per_minute, retry_s=int((1 - left) * 60 / self.per_minute) + 1)
