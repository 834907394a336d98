"""Local time from Unix seconds by our own arithmetic: fixed offsets and POSIX TZ rules. Pure.

The sign: `+01:00` is east of Greenwich, as ISO 8601 writes it; in a POSIX string (`CET-1`) the number is what is
added to local time to get UTC, so east is negative, as POSIX.1-2017 chapter 8.3 has it.
"""

_ALLOWED = "no time zone: use 'UTC', '+01:00' or a POSIX TZ string such as CET-1CEST,M3.5.0,M10.5.0/3"


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


def parse(text):
    """A zone: (offset east in seconds,) or (standard, daylight, begin rule, end rule). ValueError says what is allowed."""
    try:
        return _parse(text)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError):
        raise ValueError(_ALLOWED)


def _parse(text):
    if text in ("UTC", "GMT", "Z", ""):
        return (0,)
    if text[0] in "+-":
        sign = -1 if text[0] == "-" else 1
        digits = text[1:].replace(":", "")
        if len(digits) not in (2, 4) or not digits.isdigit() or text not in (text[0] + digits, text[:3] + ":" + digits[2:]):
            raise ValueError
        hours, minutes = int(digits[:2]), int(digits[2:] or 0)
        if hours > 15 or minutes > 59:
            raise ValueError
        return (sign * (hours * 3600 + minutes * 60),)
    text = _name(text)
    parts = text.split(",")
    standard, rest = _time(parts[0], 24)
    if not rest:
        if len(parts) > 1:
            raise ValueError
        return (-standard,)
    rest = _name(rest)
    daylight = standard - 3600
    if rest:
        daylight, rest = _time(rest, 24)
    if rest or len(parts) != 3:
        raise ValueError
    return (-standard, -daylight, _rule(parts[1]), _rule(parts[2]))


def _name(text):
    """Cut the zone's name off: three letters or more, or anything in <>."""
    if text[0] == "<":
        end = text.index(">") + 1
        if end < 5:
            raise ValueError
        return text[end:]
    end = 0
    while end < len(text) and text[end].isalpha():
        end += 1
    if end < 3:
        raise ValueError
    return text[end:]


def _time(text, most):
    """[+-]h[h[h]][:mm[:ss]] at the beginning of `text` -> (seconds, what is left)."""
    end = 0
    while end < len(text) and text[end] in "+-0123456789:":
        end += 1
    digits = text[1:end] if text[0] in "+-" else text[:end]
    parts = digits.split(":")
    if len(parts) > 3 or not all(p.isdigit() and len(p) < 4 for p in parts):
        raise ValueError
    numbers = [int(p) for p in parts] + [0, 0]
    if numbers[0] > most or numbers[1] > 59 or numbers[2] > 59:
        raise ValueError
    seconds = numbers[0] * 3600 + numbers[1] * 60 + numbers[2]
    return -seconds if text[0] == "-" else seconds, text[end:]


def _rule(text):
    """`Mm.w.d`, `Jn` or `n`, with `/time` -> (kind, numbers, seconds after local midnight)."""
    day, slash, at = text.partition("/")
    seconds = 7200
    if slash:
        seconds, rest = _time(at, 167)
        if rest:
            raise ValueError
    kind = day[0] if day[0] in "MJ" else "N"
    numbers = [int(n) for n in (day[1:] if kind != "N" else day).split(".")]
    low, high = {"M": ((1, 1, 0), (12, 5, 6)), "J": ((1,), (365,)), "N": ((0,), (365,))}[kind]
    if len(numbers) != len(low) or not all(a <= n <= b for a, n, b in zip(low, numbers, high)):
        raise ValueError
    return kind, numbers, seconds


def _at(rule, year):
    """Local seconds since 1970 at which a rule takes effect in `year`."""
    kind, n, seconds = rule
    if kind == "M":
        first = days(year, n[0], 1)
        day = first + (n[2] - (first + 4)) % 7 + (n[1] - 1) * 7
        if n[1] == 5:
            after = days(year + (n[0] == 12), n[0] % 12 + 1, 1)
            while day >= after:
                day -= 7
    else:
        day = days(year, 1, 1) + n[0]
        if kind == "J":  # February 29 is never counted
            day -= not (n[0] > 59 and days(year, 3, 1) - days(year, 2, 1) == 29)
    return day * 86400 + seconds


def offset_s(zone, unix_s):
    """Seconds east of Greenwich at that time."""
    if len(zone) == 1:
        return zone[0]
    standard, daylight, begin, end = zone
    year = date((unix_s + standard) // 86400)[0]
    start = _at(begin, year) - standard
    stop = _at(end, year) - daylight
    if start < stop:
        on = start <= unix_s < stop
    else:
        on = not stop <= unix_s < start
    return daylight if on else standard


def local(zone, unix_s):
    """(year, month, day, hour, minute, second, weekday) in local time; Sunday is 0."""
    s = unix_s + offset_s(zone, unix_s)
    day, s = s // 86400, s % 86400
    return date(day) + (s // 3600, s // 60 % 60, s % 60, (day + 4) % 7)


def changes(zone, unix_s):
    """Unix seconds of the next change of the offset after `unix_s`; None for a fixed offset."""
    if len(zone) == 1:
        return None
    standard, daylight, begin, end = zone
    year = date((unix_s + standard) // 86400)[0]
    times = [t for y in (year - 1, year, year + 1) for t in (_at(begin, y) - standard, _at(end, y) - daylight)]
    return min((t for t in times if t > unix_s), default=None)
