"""Local time from Unix seconds by our own arithmetic: fixed offsets and POSIX TZ rules. Pure.

Two conventions for the sign, as the two forms have always had them: `+01:00` (ISO 8601) is how far the place is ahead
of UTC, east is plus; `CET-1` (POSIX.1-2017 chapter 8.3) is what must be added to local time to get UTC, east is minus.
`UTC+1` would be read either way, so it is refused.

A zone is (offset_s,) or (standard_s, daylight_s, begin, end): offsets in seconds ahead of UTC, and two rules
(kind, numbers, seconds after midnight).
"""

_EVER = 1 << 50  # later than any time we are asked about
_ALLOWED = "UTC, +01:00 (ahead of UTC), or a POSIX TZ string such as CET-1CEST,M3.5.0,M10.5.0/3"


def days(y, m, d):
    """Days since 1970-01-01 of a date of the Gregorian calendar (after Howard Hinnant's days_from_civil)."""
    y -= m <= 2
    era = y // 400
    yoe = y - era * 400
    doy = (153 * (m + (-3 if m > 2 else 9)) + 2) // 5 + d - 1
    return era * 146097 + yoe * 365 + yoe // 4 - yoe // 100 + doy - 719468


def date(day):
    """(year, month, day of month) of a day number as of days()."""
    day += 719468
    era = day // 146097
    doe = day - era * 146097
    yoe = (doe - doe // 1460 + doe // 36524 - doe // 146096) // 365
    doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
    mp = (5 * doy + 2) // 153
    m = mp + (3 if mp < 10 else -9)
    return yoe + era * 400 + (m <= 2), m, doy - (153 * mp + 2) // 5 + 1


def number(text, low, high):
    """The int that up to four digits name. ValueError(text) if it is none or not from `low` to `high`."""
    # Not isdigit(): CPython's knows digits of other scripts, MicroPython's does not.
    if 0 < len(text) < 5 and all("0" <= c <= "9" for c in text) and low <= int(text) <= high:
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
        hours, colon, minutes = text[1:].partition(":")
        if not colon:
            hours, minutes = hours[:2], hours[2:]
        if len(hours) != 2 or len(minutes) != 2 and (colon or minutes):
            raise ValueError(text)
        seconds = number(hours, 0, 15) * 3600 + number(minutes or "0", 0, 59) * 60
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
    end = 0
    signs = ""
    if text[:1] == "<":
        end = 1
        signs = "+-0123456789"
    begin = end
    while end < len(text) and ("A" <= text[end] <= "Z" or "a" <= text[end] <= "z" or text[end] in signs):
        end += 1
    if end - begin < 3 or begin and text[end : end + 1] != ">":
        raise ValueError(text)
    return text[end + begin :]


def _time(text, most):
    """[+-]h[h[h]][:mm[:ss]] at the beginning of `text` -> (seconds, what is left)."""
    end = 0
    while end < len(text) and text[end] in "+-0123456789:":
        end += 1
    seconds = 0
    parts = text[text[:1] in ("+", "-") : end].split(":")
    for part, unit, high in zip(parts, (3600, 60, 1), (most, 59, 59)):
        seconds += number(part, 0, high) * unit
    if len(parts) > 3:
        raise ValueError(text)
    return -seconds if text[0] == "-" else seconds, text[end:]


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
    limits = {"M": ((1, 12), (1, 5), (0, 6)), "J": ((1, 365),), "": ((0, 365),)}[kind]
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
    # A rule's time of +-167 hours and its offsets may carry it ten days into the neighbouring year.
    for year in range(date(day - 10)[0] - 1, date(day + 10)[0] + 2):
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
