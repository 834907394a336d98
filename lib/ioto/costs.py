"""What a fault on the way to a verified image costs. Pure. The table with the reasons is in docs/internals.md, "What a fault costs".

Nothing: too little memory, the download is resumed. An attempt: the board's own fault, counted up to `update.attempts`. Refused: the file says that it is not for this board; it is
reported, and looked at again if the cloud still offers it. All the rest is the network's or the store's: told in the next
check-in. The last two wait, each time twice as long, and the record knows how long.
"""

_ATTEMPT = "flash_failed"
_REFUSED = "unsigned signature_invalid manifest_ version_ image_chip image_revision image_merged image_malformed"
_FIRST_S = 60
_MOST_S = 86400
_SLACK_S = 60


def charge(life, reason, now_s, period_s, retry_s):
    """The download of the update in work has ended for `reason`: enter what that costs. Returns the seconds to stay away from the cloud,
    `retry_s` after an attempt, and never more than the period between check-ins.
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
    update["lost"] = lost = update.get("lost", 0) + 1  # the next download begins with block 0
    wait = min(_FIRST_S << min(lost, 11), _MOST_S)
    update["after"] = now_s + wait if now_s and wait > period_s else 0
    return min(wait, period_s)


def waits(update, now_s):
    """Is it too early for another download of `update`? Only where the wait is longer than the period between check-ins."""
    after = update.get("after")
    return after and now_s and _SLACK_S < after - now_s <= _MOST_S  # else the clock was wrong then
