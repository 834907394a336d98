"""Request rate limits: a token bucket for each key, in the memory of a worker.

A key is a device's token, the id in a registration, the address of a registration, or an operator's token. Each device
has its own bucket, so a runaway device slows down only itself: with one bucket for all, any client could lock out a
fleet. The response to a client over its limit states how long to wait; the client's token remains valid.
"""

from collections.abc import Callable, Hashable

from .errors import Refusal

PER_MINUTE = 60  # for each device; an update with all its reports takes fewer requests
# Maximum number of buckets. One takes about 250 bytes, whatever its key, so all take 25 MB. The least recently used
# bucket is dropped first; a new bucket is full.
KEYS = 100_000


class RateLimits:
    """Allows `per_minute` requests a minute for each key, also if they all arrive at once; 0: no limit.

    `clock` returns seconds.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float]) -> None:
        self.per_minute = per_minute
        self.clock = clock
        # hash of the key -> (requests left, time), least recently used first
        self._buckets: dict[int, tuple[float, float]] = {}

    def check(self, key: Hashable) -> None:
        """Count one request of `key`. Raises Refusal 429 if `key` is over its limit."""
        if not self.per_minute:
            return
        key = hash(key)  # clients choose the keys; a hash has the same size for every key
        now_s = self.clock()
        left, then_s = self._buckets.pop(key, (self.per_minute, now_s))
        left = min(self.per_minute, left + max(0, now_s - then_s) * self.per_minute / 60)
        self._buckets[key] = (left - 1 if left >= 1 else left, now_s)
        if len(self._buckets) > KEYS:
            del self._buckets[next(iter(self._buckets))]
        if left < 1:
            raise Refusal(
                429,
                "too many requests: more than %d a minute" % self.per_minute,
                retry_s=int((1 - left) * 60 / self.per_minute) + 1,
            )
