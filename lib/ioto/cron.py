"""Parse windows of five cron fields: minute, hour, day of month, month, day of week. Pure.

A window is open in each minute that matches. It is (text, minutes, hours, days, months, weekdays, either). `minutes` to
`weekdays` are bit masks; in `weekdays`, Sunday is bit 0. `either` is true if neither day field is `*`; then one
matching day field is enough. Windows are in local time: a minute skipped by a clock change never occurs, a repeated one
occurs twice.
"""

from .ascii import number
from .masks import DAYS, MONTHS, WEEKDAYS

ALIASES = {
    "anytime": "* * * * *",
    "never": "",
    "unscheduled": "",
    "day": "* 6-17 * * *",
    "weekdays": "* * * * 1-5",
    "workhours": "* 9-17 * * 1-5",
    "midnight": "* 0 * * *",
    "night": "* 0-5,18-23 * * *",
}
_LIMITS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


def parse(text):
    """Return the window of five fields or an alias; ValueError with arguments for config_errors.say()."""
    fields = ALIASES.get(text, text).split() if isinstance(text, str) else "?"
    if not fields and text:
        return (text, 0, 0, 0, 0, 0, False)
    if len(fields) != 5:
        raise ValueError("window")
    minutes, hours, mdays, months, wdays = [_mask(field, *limits) for field, limits in zip(fields, _LIMITS)]
    either = "*" not in (fields[2], fields[4])
    if either and (mdays == DAYS or wdays == WEEKDAYS):
        mdays, wdays = DAYS, WEEKDAYS
    # Not every month has the days 30 and 31.
    if fields[4] == "*" and not months & (MONTHS if mdays & 0x3FFFFFFE else 0x1FFA if mdays >> 30 & 1 else 0x15AA):
        raise ValueError("never", fields[2], fields[3])
    return (text, minutes, hours, mdays, months, wdays, either)


def _mask(field, low, high):
    size = 7 if high == 7 else high - low + 1  # 7 is Sunday too
    mask = 0
    for part in field.split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        try:
            step = number(step, 1, size) if slash else 1
            first = low if span == "*" else number(first, low, high)
            if dash:
                last = number(last, low, high)
            else:
                last = low + size - 1 if slash or span == "*" else first
        except ValueError:
            raise ValueError("field", part, low, high)
        if last < first:  # as in Ioto: 22-5 spans midnight
            last += size
        for n in range(first, last + 1, step):
            mask |= 1 << (n - low) % size + low
    return mask
