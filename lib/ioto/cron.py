"""Windows as five cron fields: minute, hour, day of month, month, day of week. A minute that matches is inside. Pure.

A window is (text, minutes, hours, days, months, weekdays), each a bit mask; weekdays count from Sunday = 0. When both
day fields are restricted either may match, as in Vixie's cron.
"""

from .timezone import changes, date, days, offset_s

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
_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))
_ALL_DAY = (0xFFFFFFFFFFFFFFF, 0xFFFFFF)
_DAYS = 366 * 8 + 2  # the furthest a day of any window can be: February 29 over 1900 or 2100


def parse(text):
    """A window of the five fields or an alias; ValueError names the field, its value and what is allowed."""
    if not isinstance(text, str):
        raise ValueError("a window is text: five cron fields or %s" % ", ".join(sorted(ALIASES)))
    fields = ALIASES.get(text.strip(), text).split()
    if not fields and text.strip() in ALIASES:
        return (text, 0, 0, 0, 0, 0)
    if len(fields) != 5:
        raise ValueError("%d cron fields, not 5 (minute hour day month weekday), nor %s" % (len(fields), ", ".join(sorted(ALIASES))))
    masks = [_mask(field, *names) for field, names in zip(fields, _FIELDS)]
    masks[4] = (masks[4] | masks[4] >> 7) & 127  # 7 is Sunday too
    return (text,) + tuple(masks)


def _mask(field, name, low, high):
    mask = 0
    for part in field.split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span == "*":
            first, last = low, min(high, 6) if low == 0 and high == 7 else high
        elif first.isdigit() and (last.isdigit() if dash else not last):
            first = int(first)
            last = int(last) if dash else high if slash else first
        else:
            first = -1
        if slash and not (step.isdigit() and int(step)) or not low <= first <= last <= high:
            raise ValueError("%s '%s': use *, n, n-m, */s or n-m/s, with commas, from %d to %d" % (name, part, low, high))
        for n in range(first, last + 1, int(step or 1)):
            mask |= 1 << n
    return mask


def is_always(window):
    """True for a window that never closes, which needs no clock."""
    return window[1:] == _ALL_DAY + (0xFFFFFFFE, 0x1FFE, 0x7F)


def _days(window, day):
    """(does day number `day` match?, how many days on is the next that may be different)."""
    y, m, d = date(day)
    if not window[4] >> m & 1:
        return False, days(y + (m == 12), m % 12 + 1, 1) - day
    in_month = window[3] >> d & 1
    in_week = window[5] >> (day + 4) % 7 & 1
    if window[3] == 0xFFFFFFFE or window[5] == 0x7F:
        return in_month and in_week, 1
    return in_month or in_week, 1


def _next_minute(window, minute, want, most):
    """The first minute (local, since 1970) from `minute` on that is inside (or not, as `want`), before `most`."""
    while minute < most:
        day, at = minute // 1440, minute % 1440
        open_day, skip = _days(window, day)
        if not open_day:
            if not want:
                return minute
            minute = (day + skip) * 1440
            continue
        if not at and not want and window[1:3] == _ALL_DAY:
            minute += 1440
            continue
        if not window[2] >> at // 60 & 1:
            if not want:
                return minute
            minute += 60 - at % 60
            continue
        # Within an hour: the first minute whose bit is as wanted.
        bits = (window[1] if want else ~window[1]) >> at % 60 & (1 << 60 - at % 60) - 1
        if bits:
            while not bits & 1:
                bits >>= 1
                minute += 1
            return minute
        minute += 60 - at % 60
    return most


def _next(window, unix_s, zone, want):
    """The first second >= `unix_s` inside (or outside) the window, None within eight years: local minutes between two
    changes of the clock run as they do on paper, so each such stretch is searched by itself."""
    if not window[1] or is_always(window):
        return unix_s if bool(window[1]) == want else None
    end = unix_s + _DAYS * 86400
    while unix_s < end:
        offset = offset_s(zone, unix_s)
        change = changes(zone, unix_s) or end
        local = unix_s + offset
        last = -((-change - offset) // 60)
        found = _next_minute(window, local // 60, want, last)
        if found < last:
            return max(unix_s, found * 60 - offset)
        unix_s = change
    return None


def is_open(window, unix_s, zone):
    """Is that second inside?"""
    return _next(window, unix_s, zone, True) == unix_s


def next_open(window, unix_s, zone):
    """The first second >= `unix_s` that is inside; None if there is none."""
    return _next(window, unix_s, zone, True)


def closes_s(window, unix_s, zone):
    """Seconds until it closes: 0 if it is not open, None if it never closes."""
    if not is_open(window, unix_s, zone):
        return 0
    end = _next(window, unix_s, zone, False)
    return None if end is None else end - unix_s
