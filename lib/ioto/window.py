"""When a window (cron.parse) is open. Pure.

A search steps over what is known to be alike (a month, a day, an hour, a run of minutes) and gives up after twelve
years: some 400 steps a year at most.
"""

from .schedule import HOURS, MINUTES, is_always, spread
from .timezone import date, days, offset_s, stretch

# Twelve years, the longest that a window can stay closed: February 29 over 1900 or 2100 and once more because its hour was skipped.
_LONGEST_S = 378691200


def _span(window, minute):
    """(is it open?, first, end): minutes since 1970, local, around `minute` that are all alike; not all that are."""
    _, minutes, hours, mdays, months, wdays, either = window
    day = minute // 1440
    first = day * 1440
    y, m, d = date(day)
    if not months >> m & 1:
        return False, first, days(y + m // 12, m % 12 + 1, 1) * 1440
    a = mdays >> d & 1
    b = wdays >> (day + 4) % 7 & 1
    if not (a | b if either else a & b):
        return False, first, first + 1440
    if minutes == MINUTES and hours == HOURS:
        return True, first, first + 1440
    hour = (minute - first) // 60
    first += hour * 60
    if not hours >> hour & 1:
        return False, first, first + 60
    if minutes == MINUTES:
        return True, first, first + 60
    at = minute - first
    bit = minutes >> at & 1
    end = at + 1
    while end < 60 and minutes >> end & 1 == bit:
        end += 1
    return bool(bit), minute, first + end


def _first(window, unix_s, zone, want):
    """The first second >= `unix_s` that is inside (outside, if not `want`); None if there is none in twelve years."""
    limit = unix_s + _LONGEST_S
    until = unix_s
    while unix_s < limit:
        if unix_s >= until:
            offset, _, until = stretch(zone, unix_s)
        is_open, _, end = _span(window, (unix_s + offset) // 60)
        if is_open == want:
            return unix_s
        unix_s = min(until, end * 60 - offset)
    return None


def is_open(window, unix_s, zone):
    """Is that second inside?"""
    return _span(window, (unix_s + offset_s(zone, unix_s)) // 60)[0]


def next_open(window, unix_s, zone):
    """The first second >= `unix_s` that is inside; None if there is none."""
    return _first(window, unix_s, zone, True) if window[4] else None


def closes_s(window, unix_s, zone):
    """Seconds until it closes: 0 if it is not open, None if it never closes."""
    if is_always(window):
        return None
    end = _first(window, unix_s, zone, False)
    return None if end is None else end - unix_s


def opened_s(window, unix_s, zone, most_s):
    """The second at which the opening around `unix_s` began; if that was before `unix_s - most_s`, then that."""
    limit = unix_s - min(most_s, _LONGEST_S)
    since = unix_s
    while unix_s > limit:
        if unix_s <= since:
            offset, since, _ = stretch(zone, unix_s - 1)
        is_open, first, _ = _span(window, (unix_s - 1 + offset) // 60)
        if not is_open:
            return unix_s
        unix_s = max(since, first * 60 - offset)
    return limit


def place_s(now_s, start, slack, window, zone, jitter_s, device, pause, boot):
    """Seconds until the first moment inside the window not before `start`, nor before the device's place.

    A place up to `slack` before `start` will do: else a daily check in a narrow window, always some seconds late, would
    sooner or later find it closed. With a `pause`, who boots after its place gets another between `boot` and closing.
    """
    at = max(now_s, start - slack)
    while True:  # at most three rounds: an opening lasts a minute, `slack` not longer
        opens = next_open(window, at, zone)
        if opens is None:
            return None
        begin = opened_s(window, opens, zone, 2 * jitter_s)  # if earlier, its place is past whatever matters here
        end = opens + closes_s(window, opens, zone)
        place = begin + spread(device + window[0], min(jitter_s, end - begin))
        if pause and place < boot < end:
            place = boot + spread(device, min(pause, end - boot))
        at = max(opens, place if place >= start - slack else start)
        if at < end:
            return at - now_s
        at = end
