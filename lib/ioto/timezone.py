"""Convert Unix seconds to local time. Pure.

A zone is (offset_s,), seconds ahead of UTC, or, with daylight saving time, as in posix_tz.py.
"""

from .calendar import EVER, date

with_rules = None  # posix_tz.stretch, after its first use


def stretch(zone, unix_s):
    """(seconds ahead of UTC at that time, since, until).

    The offset is valid from `since` on and before `until`, both in Unix seconds.
    """
    global with_rules
    if len(zone) == 1:
        return zone[0], -EVER, EVER
    if not with_rules:
        from .posix_tz import stretch as found

        with_rules = found
    return with_rules(zone, unix_s)


def offset_s(zone, unix_s):
    """Seconds ahead of UTC at that time."""
    return stretch(zone, unix_s)[0]


def local(zone, unix_s):
    """(year, month, day, hour, minute, second, weekday) in local time; Sunday is 0."""
    s = unix_s + offset_s(zone, unix_s)
    day, s = s // 86400, s % 86400
    return date(day) + (s // 3600, s // 60 % 60, s % 60, (day + 4) % 7)
