"""Determine what a failed download costs. Pure. docs/internals.md, "What a fault costs", has the table of the reasons.

* Nothing: not enough memory; the download is resumed.
* An attempt: a fault of the board, counted up to `update.attempts`.
* Refused: the file is not for this board. This is reported; the file is checked again if the cloud still offers it.
* Everything else is a fault of the network or the store. Its reason is sent with the next check-in.

In the last two cases, the next download is delayed; the delay doubles each time. If it is longer than the period
between check-ins, the record stores when the download may start.
"""

_ATTEMPT = "flash_failed"
_REFUSED = (
    "unsigned signature_invalid manifest_ version_ image_chip image_revision image_merged image_malformed "
    "packed_malformed base_mismatch"
)
_FIRST_S = 60
_MOST_S = 86400
_SLACK_S = 60


def charge(life, reason, now_s, period_s, retry_s):
    """Record the cost of a download that failed for `reason`.

    Returns the seconds to wait before the next check-in: `retry_s` after an attempt, and never more than the period
    between check-ins.
    """
    if reason == "no_memory":
        return 0
    update = life.record["update"]
    if reason == _ATTEMPT:
        life.again(reason, "download")
        return min(retry_s, period_s)
    for refused in _REFUSED.split():
        if reason.startswith(refused):
            life.refuse(update["update"], reason, update["ours"])
            break
    update["error"] = reason
    update["lost"] = lost = update.get("lost", 0) + 1  # the next download starts at block 0
    wait = min(_FIRST_S << min(lost, 11), _MOST_S)
    update["after"] = now_s + wait if now_s and wait > period_s else 0
    return min(wait, period_s)


def waits(update, now_s):
    """Is it too early for another download of `update`?

    Only a wait that is longer than the period between check-ins is stored.
    """
    after = update.get("after")
    return after and now_s and _SLACK_S < after - now_s <= _MOST_S  # longer: the clock was wrong when `after` was set
