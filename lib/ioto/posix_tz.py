"""Time zones as POSIX TZ strings (POSIX.1-2017 chapter 8.3), with rules for daylight saving time. Pure.

Imported only if the timezone is such a string. A zone is (offset_s,) or (standard_s, daylight_s, begin, end): offsets
in seconds ahead of UTC, and two rules (kind, numbers, seconds after midnight).
"""

from .ascii import DIGITS, LETTERS
from .calendar import EVER, date, days


def parse(text):
    """Return the zone; ValueError with the text from the first error on."""
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
        # Without rules, the dates of daylight saving time would be a guess.
        raise ValueError(rest or text)
    return (-standard, -daylight, _rule(parts[1]), _rule(parts[2]))


def _after_name(text):
    """The text after the zone's name: three or more ASCII letters, or three or more letters, digits and signs in <>."""
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
    """[+-]h[h[h]][:mm[:ss]] at the start of `text` -> (seconds, rest of the text)."""
    rest = text.lstrip("+-:" + DIGITS)
    parts = text[text[:1] in ("+", "-") : len(text) - len(rest)].split(":")
    if len(parts) > 3:
        raise ValueError(text)
    from .ascii import number

    seconds = 0
    unit = 3600
    for part in parts:
        seconds += number(part, 0, most) * unit
        unit //= 60
        most = 59
    return -seconds if text[0] == "-" else seconds, rest


def _rule(text):
    """`Mm.w.d`, `Jn` or `n`, optionally with `/time` -> (kind, numbers, seconds after local midnight)."""
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
    from .ascii import number

    return kind, [number(n, low, high) for n, (low, high) in zip(numbers, limits)], seconds


def _at(rule, year):
    """Local seconds since 1970 at which a rule takes effect in `year`."""
    kind, n, seconds = rule
    if kind == "M":
        day = days(year, n[0], 1)
        day += (n[2] - day - 4) % 7 + n[1] * 7 - 7
        if day >= days(year + n[0] // 12, n[0] % 12 + 1, 1):  # no fifth such weekday: the last one
            day -= 7
    elif kind and n[0] > 59:  # Jn never counts February 29
        day = days(year, 3, 1) + n[0] - 60
    else:
        day = days(year, 1, 1) + n[0] - len(kind)
    return day * 86400 + seconds


def stretch(zone, unix_s):
    """See timezone.stretch()."""
    standard, daylight, begin, end = zone
    day = (unix_s + standard) // 86400
    since, until, offset = -EVER, EVER, standard
    # With a time of +-167 hours and the offsets, a change can occur up to ten days into an adjacent year.
    this_year = date(day)[0]
    for year in range(this_year - 2, this_year + 3):
        for at, to in ((_at(end, year) - daylight, standard), (_at(begin, year) - standard, daylight)):
            if at > unix_s:
                until = min(until, at)
            elif at >= since:  # begin wins over end at the same time: this is how daylight time all year is written
                since, offset = at, to
    return offset, since, until
