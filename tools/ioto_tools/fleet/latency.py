"""Times of very many requests in one small array: buckets that are 1/32 of their value wide, so 3 % exact. Pure."""

from array import array

_STEPS = 32  # buckets between a power of two and the next


class Latency:
    """Counts of times in microseconds, up to an hour."""

    def __init__(self):
        self.counts = array("Q", bytes(8 * _STEPS * 32))
        self.n = 0

    def add(self, seconds):
        us = max(0, int(seconds * 1e6))  # what was sent a moment before it was due may be answered before it was due
        power = max(us.bit_length() - 6, 0)
        self.counts[min(power * _STEPS + (us >> power), len(self.counts) - 1)] += 1
        self.n += 1

    def quantile(self, q):
        """The time in seconds that the share `q` (0 to 1) of all is not above; 0.0 of none."""
        left = max(1, round(self.n * q))
        for bucket, count in enumerate(self.counts):
            left -= count
            if left <= 0:
                return _most(bucket) / 1e6
        return 0.0


def _most(bucket):
    """The highest time of a bucket, in microseconds: the upper half of each power's range has the steps."""
    power = max(bucket // _STEPS - 1, 0)
    return ((bucket - power * _STEPS + 1) << power) - 1
