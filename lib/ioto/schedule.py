"""When the next check-in is due. Pure: the clock, the uptime and what the record kept come in as plain numbers.

* Only inside the window. Not before `period` has passed since the last check-in that succeeded.
* Inside the window each device has a place of its own (a hash of its id and the window), so a fleet does not arrive
  together: never later than `jitter` after the opening, never after the closing.
* Failures back off, doubling, each device a little differently.
* A clock that was never set opens no window but `anytime`; the period then runs on uptime, as it does within one boot
  anyway, so a clock that jumps changes neither.
"""

from hashlib import sha256

from .cron import closes_s, is_always, is_open, next_open

_FIRST_S = 30
_MOST_S = 3600
_HOLD_MOST_S = 7 * 86400  # a hold that ends later than that comes from a clock that jumped


def spread(text, most):
    """A number in [0, most) that is always the same for `text`, and anywhere for another."""
    return int.from_bytes(sha256(text.encode()).digest()[:6], "big") * most >> 48


def backoff_s(failures, device):
    """Seconds to wait after that many failures in a row (1 or more): doubling from half a minute to an hour."""
    most = min(_MOST_S, _FIRST_S << min(failures - 1, 7))
    return most // 2 + spread("%s %d" % (device, failures), most // 2 + 1)


def due_s(now_s, up_s, tried_s, window, zone, period_s, jitter_s, last_ok_s, failures, hold_s, device):
    """Seconds until the next check-in, 0 if it is due, None if no window will ever open (or none can without a clock).

    `now_s` Unix seconds or None; `up_s` uptime; `tried_s` uptime at which the last attempt of this boot began, or None;
    `last_ok_s`, `failures`, `hold_s` from the record.
    """
    wait = 0
    if failures:
        wait = backoff_s(failures, device) - (up_s - (tried_s or 0))
    elif tried_s is not None:
        wait = period_s - (up_s - tried_s)
    elif last_ok_s is not None and now_s is not None and last_ok_s <= now_s:
        wait = last_ok_s + period_s - now_s
    always = is_always(window)
    if always and last_ok_s is not None and tried_s is None and jitter_s:
        # No opening to spread over: a fleet that comes back after a power cut is spread over its first minutes.
        wait = max(wait, spread(device, jitter_s) - up_s)
    if now_s is None:
        return max(0, wait) if always else None
    if hold_s is not None and hold_s - now_s <= _HOLD_MOST_S:
        wait = max(wait, hold_s - now_s)
    start = now_s + max(0, wait)
    if always:
        return start - now_s
    opens = next_open(window, start, zone)
    if opens is None:
        return None
    return max(opens, _place(window, opens, zone, jitter_s, device)) - now_s


def _place(window, at, zone, jitter_s, device):
    """The device's own second in the opening around `at`; `at` itself when that has passed or can't be told."""
    if jitter_s <= 0:
        return at
    back = at - jitter_s
    if is_open(window, back, zone):  # it opened longer ago than any place is late
        back += closes_s(window, back, zone) or 0
        if back > at or back == at - jitter_s:
            return at
    begin = next_open(window, back, zone)
    while begin + closes_s(window, begin, zone) <= at:
        begin = next_open(window, begin + closes_s(window, begin, zone), zone)
    return begin + spread(device + window[0], min(jitter_s, closes_s(window, begin, zone)))
