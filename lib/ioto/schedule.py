"""When the next check-in is due. Pure: the clock, the uptime and what the record kept come in as plain numbers.

* Inside the window only, and not before `period` has passed since the last check-in that succeeded. Failures back off
  instead: 30 s, doubling to about half an hour or an hour, never longer than the period; and longer if the cloud says so.
* Each device has a time of its own in the window (SHA-256 of its id and the window's text), not later than `jitter`
  after the opening nor after the closing, so that a fleet does not arrive together. A window that never closes has no
  such time: there the period is longer by up to `jitter`, each device's by as much. After power has come back a fleet is
  spread over `jitter` too, from the start on; a device that never checked in is not delayed. A device that is overdue by
  whole days waits half as long for each of them, so that one with power for minutes a day still checks in.
* Within one boot intervals run on the uptime, so a clock that jumps changes none. Over a reset they run on the clock;
  what it can't tell (never set, or behind the last check-in) is taken as passed, so it never freezes anything.
* Without a clock no window is open but one that never closes.
"""

from hashlib import sha256

MINUTES = 0xFFFFFFFFFFFFFFF
HOURS = 0xFFFFFF
DAYS = 0xFFFFFFFE
WEEKDAYS = 127
_FIRST_S = 30
_HOLD_MOST_S = 7 * 86400
_POWER_S = 300  # longest wait after a power failure without a clock, where check-ins failed before
_DAY_S = 86400


def is_always(window):
    """True for a window that never closes, which needs no clock."""
    return window[1:6] == (MINUTES, HOURS, DAYS, 0x1FFE, WEEKDAYS)


def spread(text, most):
    """A whole number in [0, most), always the same for `text` and anywhere for another; 0 if `most` is."""
    return int.from_bytes(sha256(text.encode()).digest()[:6], "big") * most >> 48


def backoff_s(failures, device):
    """Seconds to wait after that many failures in a row (1 or more): 30 to 59, doubling six times."""
    first = _FIRST_S << min(failures, 7) - 1
    return first + spread("%s %d" % (device, min(failures, 7)), first)


def rest_s(period_s, jitter_s, failures, hold_s, device):
    """Seconds to stay away after a check-in: `failures` in a row (0: it succeeded); `hold_s` asked for by the cloud."""
    if failures:
        # The cloud can take a check-in each period: failing devices need not ask less often.
        rest = min(backoff_s(failures, device), max(period_s, _FIRST_S))
    else:
        rest = period_s + spread(device, jitter_s)
    hold = min(hold_s or 0, _HOLD_MOST_S)
    return max(rest, hold + spread(device, hold >> 2))  # all that were sent away do not come back at once


def due_s(
    now_s, up_s, tried_up_s, window, zone, period_s, jitter_s, tried_s, failures, hold_s, device, cold=True
):  # fmt: skip
    """Seconds until the next check-in, 0 if it is due; None if the window never opens, or can't without a clock.

    now_s: Unix seconds, or None if the clock was never set. up_s: uptime. tried_up_s: uptime at which the last check-in
    of this boot began if it succeeded, ended if it failed; None if there was none. From the record: tried_s, the same
    in Unix seconds (0 if there was no clock, None if there never was a check-in); failures in a row; hold_s that the
    cloud asked for with it. device: its id. cold: power came on, not a reset or a wake from deep sleep, with which
    devices don't come in crowds.
    """
    always = is_always(window)
    rest = rest_s(period_s, jitter_s if always else 0, failures, hold_s, device)
    pause = 0
    if tried_up_s is not None:
        wait = tried_up_s + rest - up_s
    else:
        wait = 0  # from the boot on
        if tried_s is not None:
            if now_s is not None and tried_s <= now_s - up_s:  # before this boot, as it must have been
                wait = tried_s + rest - now_s + up_s
            elif failures and cold:
                wait = min(rest, _POWER_S)
            if cold:
                pause = jitter_s >> min(max(0, -wait) // max(_DAY_S, period_s), 30)
        wait -= up_s
    if always:
        return max(0, wait, spread(device, pause) - up_s)
    if now_s is None:
        return None
    slack = 0 if failures or hold_s else min(60, period_s >> 8)
    from .window import place_s

    return place_s(now_s, now_s + wait, slack, window, zone, jitter_s, device, pause, now_s - up_s)
