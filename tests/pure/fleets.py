"""Support for tests of the schedule: a fleet of ids, due_s() with defaults, and a check of an even spread.

Also runs on MicroPython.
"""

from ioto.calendar import days
from ioto.schedule import due_s
from ioto.zone import parse as zone_of

UTC = zone_of("UTC")
MINUTE, HOUR, DAY = 60, 3600, 86400
NOON = days(2027, 6, 1) * DAY + 12 * HOUR
IDS = ["DEV%05d" % i for i in range(10000)]


def due(
    window, zone, now, id, tried=None, up=DAY, jitter=HOUR, cold=True, period=DAY, failures=0, hold=0, tried_up=None
):
    return due_s(now, up, tried_up, window, zone, period, jitter, tried, failures, hold, id, cold)


def even(arrivals, begin, length, bins):
    """Check that all are in [begin, begin + length) and spread evenly: chi-square within five standard deviations."""
    counts = [0] * bins
    for at in arrivals:
        assert begin <= at < begin + length, (at, begin, length)
        counts[(at - begin) * bins // length] += 1
    mean = len(arrivals) / bins
    chi2 = sum((n - mean) * (n - mean) / mean for n in counts)
    assert chi2 < bins - 1 + 5 * (2 * (bins - 1)) ** 0.5, (chi2, counts)
