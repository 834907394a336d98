"""Calculate when a window (cron.parse) is open. Pure.

A search steps over spans in which the window does not change (a month, a day, an hour, some minutes) and gives up after
twelve years, with some 400 steps per year at most.
"""

from .calendar import date, days
from .masks import HOURS, MINUTES, is_always
from .spread import spread
from .timezone import offset_s, stretch

# Twelve years, the longest time that a window can stay closed: eight years from one February 29 to the next across 1900
# or 2100, and four more if a clock change skips the hour.
_LONGEST_S = 378691200


def _span(window, minute):
    """(is the window open?, first, end): a span of minutes around `minute` in which this does not change.

    All are local minutes since 1970. The span is not always the longest one.
    """
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
    """The first second >= `unix_s` inside the window (outside if not `want`); None if there is none in twelve years."""
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
    """Is the window open at `unix_s`?"""
    return _span(window, (unix_s + offset_s(zone, unix_s)) // 60)[0]


def next_open(window, unix_s, zone):
    """The first second >= `unix_s` inside the window; None if there is none."""
    return _first(window, unix_s, zone, True) if window[4] else None


def closes_s(window, unix_s, zone):
    """Seconds until the window closes: 0 if it is not open, None if it never closes."""
    if is_always(window):
        return None
    end = _first(window, unix_s, zone, False)
    return None if end is None else end - unix_s


def opened_s(window, unix_s, zone, most_s):
    """The second at which the window that is open at `unix_s` opened; at the earliest `unix_s - most_s`."""
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
    """Seconds until the first time in the window that is neither before `start` nor before the device's own time in it.

    A device's time up to `slack` before `start` is accepted: otherwise a daily check-in, which begins some seconds
    later each day, would eventually find a narrow window closed. With a `pause`, a device that boots after its time
    gets a new time, less than `pause` after `boot` and before the closing.
    """
    at = max(now_s, start - slack)
    while True:  # at most three rounds: an opening lasts at least a minute, and `slack` is not longer
        opens = next_open(window, at, zone)
        if opens is None:
            return None
        # If the window opened more than 2 * jitter_s ago, the device's time is past in any case.
        begin = opened_s(window, opens, zone, 2 * jitter_s)
        end = opens + closes_s(window, opens, zone)
        place = begin + spread(device + window[0], min(jitter_s, end - begin))
        if pause and place < boot < end:
            place = boot + spread(device, min(pause, end - boot))
        at = max(opens, place if place >= start - slack else start)
        if at < end:
            return at - now_s
        at = end
