"""A histogram of request times in a small array. Pure.

The width of a bucket is at most 1/32 of the times in it (but at least a microsecond), so times are exact to 3 %.
"""

from array import array

_STEPS = 32  # buckets between two powers of two


class Latency:
    """A histogram of times in microseconds, up to an hour."""

    def __init__(self) -> None:
        self.counts = array("Q", bytes(8 * _STEPS * 32))
        self.n = 0

    def add(self, seconds: float) -> None:
        us = max(0, int(seconds * 1e6))  # a request that is sent slightly early may be answered before its due time
        power = max(us.bit_length() - 6, 0)
        self.counts[min(power * _STEPS + (us >> power), len(self.counts) - 1)] += 1
        self.n += 1

    def quantile(self, q: float) -> float:
        """The quantile `q` (0 to 1) in seconds; 0.0 if there are no times."""
        left = max(1, round(self.n * q))
        for bucket, count in enumerate(self.counts):
            left -= count
            if left <= 0:
                return _most(bucket) / 1e6
        return 0.0


def _most(bucket: int) -> int:
    """The highest time of a bucket, in microseconds: the inverse of the index in Latency.add()."""
    power = max(bucket // _STEPS - 1, 0)
    return ((bucket - power * _STEPS + 1) << power) - 1
