"""Calculate when the next check-in is due. Pure: clock, uptime and values of the record are passed in as numbers.

* Check-ins happen only inside the window, and not before `period` has passed since the last successful one. After a
  failure the wait is 30 to 59 s. It doubles with each further failure, up to 32 to 64 minutes. It is at most the
  period, or 30 s if the period is shorter. It is longer if the cloud asks for that.
* Each device has its own time in the window (from the SHA-256 of its id and the window's text), at most `jitter` after
  the opening and not after the closing, so that the devices of a fleet do not check in together. In a window that never
  closes, each device's period is longer by its own share of `jitter` instead. After a power failure a fleet is also
  spread over `jitter`, from the boot on; a device that never checked in is not delayed. The delay is halved for each
  whole day that a device is overdue, so that a device with power for only minutes a day still checks in.
* Within a boot, intervals are measured by uptime, so a clock jump does not change them. Across a reset they are
  measured by the clock; if it is not set, or is behind the last check-in, the interval counts as passed, so that a
  device never waits forever.
* Without a clock only a window that never closes is open.
"""

from .masks import is_always
from .spread import spread

_FIRST_S = 30
_HOLD_MOST_S = 7 * 86400
_POWER_S = 300  # longest wait after a power failure, if there is no clock and check-ins had failed before
_DAY_S = 86400


def backoff_s(failures, device):
    """Seconds to wait after `failures` in a row (1 or more): 30 to 59 for the first, doubling six times."""
    first = _FIRST_S << min(failures, 7) - 1
    return first + spread("%s %d" % (device, min(failures, 7)), first)


def rest_s(period_s, jitter_s, failures, hold_s, device):
    """Seconds to wait after a check-in. `failures`: in a row, 0 if it succeeded; `hold_s`: requested by the cloud."""
    if failures:
        # The cloud can handle one check-in per device and period, so failing devices need not wait longer.
        rest = min(backoff_s(failures, device), max(period_s, _FIRST_S))
    else:
        rest = period_s + spread(device, jitter_s)
    hold = min(hold_s or 0, _HOLD_MOST_S)
    return max(rest, hold + spread(device, hold >> 2))  # devices that were asked to wait do not return at the same time


def due_s(now_s, up_s, tried_up_s, window, zone, period_s, jitter_s, tried_s, failures, hold_s, device, cold=True):
    """Seconds until the next check-in, 0 if it is due; None if the window never opens, or can't open without a clock.

    now_s: Unix seconds, or None if the clock was never set. up_s: uptime. tried_up_s: uptime at the start of the
    last check-in of this boot, at its end if it failed; None if there was none. From the record: tried_s, the
    same in Unix seconds (0 if there was no clock, None if there was never a check-in); failures in a row; hold_s
    requested by the cloud. device: its id. cold: started by power-on, not by a reset or a wake from deep sleep, after
    which devices need no spreading.
    """
    always = is_always(window)
    rest = rest_s(period_s, jitter_s if always else 0, failures, hold_s, device)
    pause = 0
    if tried_up_s is not None:
        wait = tried_up_s + rest - up_s
    else:
        wait = 0  # from the boot on
        if tried_s is not None:
            if now_s is not None and tried_s <= now_s - up_s:  # plausible: before this boot
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
