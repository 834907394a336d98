"""Convert Unix seconds to local time. A zone is (offset_s,), seconds ahead of UTC, or, with daylight saving time, as in
posix_tz.py. Pure.
"""

EVER = 0x4000000000000  # later than any time that is used
with_rules = None  # posix_tz.stretch, after its first use


def days(y, m, d):
    """Days since 1970-01-01 of a Gregorian date. January and February are counted as the end of the preceding year."""
    if m < 3:
        y -= 1
        m += 12
    return y * 365 + y // 4 - y // 100 + y // 400 + (153 * m - 457) // 5 + d - 719469


def date(day):
    """(year, month, day of month) of a day number as returned by days() (after Peter Baum's Date Algorithms)."""
    day += 719469
    hundredths = 100 * day - 25
    a = hundredths // 3652425
    a -= a // 4
    y = (100 * a + hundredths) // 36525
    d = a + day - 365 * y - y // 4
    m = (5 * d + 456) // 153
    d -= (153 * m - 457) // 5
    return (y + 1, m - 12, d) if m > 12 else (y, m, d)


def stretch(zone, unix_s):
    """(seconds ahead of UTC at that time, Unix seconds from which that is valid, Unix seconds before which that is
    valid).
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
