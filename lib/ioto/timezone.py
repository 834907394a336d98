"""Local time from Unix seconds by our own arithmetic: fixed offsets and POSIX TZ rules. Pure.

Two conventions for the sign, as the two forms have always had them: `+01:00` (ISO 8601) is how far the place is ahead
of UTC, east is plus; `CET-1` (POSIX.1-2017 chapter 8.3) is what must be added to local time to get UTC, east is minus.
`UTC+1` would be read either way, so it is refused.

A zone is (offset_s,) or (standard_s, daylight_s, begin, end): offsets in seconds ahead of UTC, and two rules
(kind, numbers, seconds after midnight).
"""

from .ascii import DIGITS, LETTERS

_EVER = 0x4000000000000  # later than any time we are asked about
_ALLOWED = "UTC, +01:00 (ahead of UTC), or a POSIX TZ string such as CET-1CEST,M3.5.0,M10.5.0/3"


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
    """The zone that `text` names. ValueError says from where on it is none, and what is allowed."""
    try:
        if not isinstance(text, str):
            raise ValueError(text)
        return _parse(text)
    except ValueError as e:
        raise ValueError("no time zone at '%s': use %s" % (e.args[0] or text, _ALLOWED))


def _parse(text):
    if text in ("UTC", "GMT", "Z"):
        return (0,)
    if text[:1] in ("+", "-"):
        size = len(text)
        if size not in (3, 5, 6) or (":" in text) != (size == 6):
            raise ValueError(text)
        seconds = number(text[1:3], 0, 15) * 3600 + (number(text[-2:], 0, 59) * 60 if size > 3 else 0)
        return (-seconds if text[0] == "-" else seconds,)
    parts = text.split(",")
    rest = _after_name(parts[0])
    standard, rest = _time(rest, 24)
    if standard and text[:3] in ("UTC", "GMT"):
        raise ValueError(text)
    if not rest and len(parts) == 1:
        return (-standard,)
    rest = _after_name(rest)
    daylight = standard - 3600
    if rest:
        daylight, rest = _time(rest, 24)
    if rest or len(parts) != 3:
        # Without rules the summer time would be somebody's guess.
        raise ValueError(rest or text)
    return (-standard, -daylight, _rule(parts[1]), _rule(parts[2]))


def _after_name(text):
    """What follows the zone's name: three ASCII letters or more, or three of letters, digits and signs in <>."""
    if text[:1] == "<":
        name, end, rest = text[1:].partition(">")
        good = end and not name.strip(LETTERS + DIGITS + "+-")
    else:
        rest = text.lstrip(LETTERS)
        name = good = text[: len(text) - len(rest)]
    if good and len(name) > 2:
        return rest
    raise ValueError(text)


def _time(text, most):
    """[+-]h[h[h]][:mm[:ss]] at the beginning of `text` -> (seconds, what is left)."""
    rest = text.lstrip("+-:" + DIGITS)
    parts = text[text[:1] in ("+", "-") : len(text) - len(rest)].split(":")
    if len(parts) > 3:
        raise ValueError(text)
    seconds = 0
    unit = 3600
    for part in parts:
        seconds += number(part, 0, most) * unit
        unit //= 60
        most = 59
    return -seconds if text[0] == "-" else seconds, rest


def _rule(text):
    """`Mm.w.d`, `Jn` or `n`, with `/time` -> (kind, numbers, seconds after local midnight)."""
    day, slash, at = text.partition("/")
    seconds = 7200
    if slash:
        seconds, rest = _time(at, 167)
        if rest:
            raise ValueError(text)
    kind = day[:1] if day[:1] in ("M", "J") else ""
    numbers = day[len(kind) :].split(".")
    limits = ((1, 12), (1, 5), (0, 6)) if kind == "M" else ((len(kind), 365),)
    if len(numbers) != len(limits):
        raise ValueError(text)
    return kind, [number(n, low, high) for n, (low, high) in zip(numbers, limits)], seconds


def _at(rule, year):
    """Local seconds since 1970 at which a rule takes effect in `year`."""
    kind, n, seconds = rule
    if kind == "M":
        day = days(year, n[0], 1)
        day += (n[2] - day - 4) % 7 + n[1] * 7 - 7
        if day >= days(year + n[0] // 12, n[0] % 12 + 1, 1):  # there is no fifth: the last
            day -= 7
    elif kind and n[0] > 59:  # Jn never counts February 29
        day = days(year, 3, 1) + n[0] - 60
    else:
        day = days(year, 1, 1) + n[0] - len(kind)
    return day * 86400 + seconds


def stretch(zone, unix_s):
    """(seconds ahead of UTC at that time, Unix seconds from which and before which that holds)."""
    if len(zone) == 1:
        return zone[0], -_EVER, _EVER
    standard, daylight, begin, end = zone
    day = (unix_s + standard) // 86400
    since, until, offset = -_EVER, _EVER, standard
    # A rule's time of +-167 hours and its offsets may carry it ten days into the neighbouring year, the last of that year into this.
    year = date(day)[0]
    for year in range(year - 2, year + 3):
        for at, to in ((_at(end, year) - daylight, standard), (_at(begin, year) - standard, daylight)):
            if at > unix_s:
                until = min(until, at)
            elif at >= since:  # of two changes at once the begin counts: daylight time all the year is written so
                since, offset = at, to
    return offset, since, until


def offset_s(zone, unix_s):
    """Seconds ahead of UTC at that time."""
    return stretch(zone, unix_s)[0]


def local(zone, unix_s):
    """(year, month, day, hour, minute, second, weekday) in local time; Sunday is 0."""
    s = unix_s + offset_s(zone, unix_s)
    day, s = s // 86400, s % 86400
    return date(day) + (s // 3600, s // 60 % 60, s % 60, (day + 4) % 7)
