"""Local time from Unix seconds by our own arithmetic: fixed offsets, and POSIX TZ rules (posix_tz.py). Pure.

Two conventions for the sign, as the two forms have always had them: `+01:00` (ISO 8601) is how far the place is ahead
of UTC, east is plus; `CET-1` (POSIX.1-2017 chapter 8.3) is what must be added to local time to get UTC, east is minus.
`UTC+1` would be read either way, so it is refused.

A zone is (offset_s,), seconds ahead of UTC, or as of posix_tz.py where there is daylight saving time.
"""

from .ascii import DIGITS

EVER = 0x4000000000000  # later than any time we are asked about
with_rules = None  # posix_tz.stretch, once it was needed


def days(y, m, d):
    """Days since 1970-01-01 of a date of the Gregorian calendar. January and February count as the end of the year before."""
    if m < 3:
        y -= 1
        m += 12
    return y * 365 + y // 4 - y // 100 + y // 400 + (153 * m - 457) // 5 + d - 719469


def date(day):
    """(year, month, day of month) of a day number as of days() (after Peter Baum's Date Algorithms)."""
    day += 719469
    hundredths = 100 * day - 25
    a = hundredths // 3652425
    a -= a // 4
    y = (100 * a + hundredths) // 36525
    d = a + day - 365 * y - y // 4
    m = (5 * d + 456) // 153
    d -= (153 * m - 457) // 5
    return (y + 1, m - 12, d) if m > 12 else (y, m, d)


def number(text, low, high):
    """The int that up to four digits name. ValueError(text) if it is none or not from `low` to `high`."""
    if 0 < len(text) < 5 and not text.strip(DIGITS) and low <= int(text) <= high:
        return int(text)
    raise ValueError(text)


def parse(text):
    """The zone that `text` names. ValueError of what is left of it from where on it is none."""
    if not isinstance(text, str):
        raise ValueError("")
    if text in ("UTC", "GMT", "Z"):
        return (0,)
    if text[:1] in ("+", "-"):
        size = len(text)
        if size not in (3, 5, 6) or (":" in text) != (size == 6):
            raise ValueError(text)
        seconds = number(text[1:3], 0, 15) * 3600 + (number(text[-2:], 0, 59) * 60 if size > 3 else 0)
        return (-seconds if text[0] == "-" else seconds,)
    from .posix_tz import parse as posix

    return posix(text)


def stretch(zone, unix_s):
    """(seconds ahead of UTC at that time, Unix seconds from which and before which that holds)."""
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
