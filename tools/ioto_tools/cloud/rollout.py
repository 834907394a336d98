"""Where an update stands on a device, as one table: event x state -> state. Pure.

Events are what a device reports, and what the cloud sees by itself:

    runs      a check-in tells the update's version; strangers never report more than that
    returns   a check-in tells the old version again, after success
    silent    neither check-in nor report for a day
    newer     the device is offered another update
    again     a report from a further attempt of the device's own: it starts over
    offer     the cloud offers the update once more

What stands in no row (a late, repeated or impossible event) changes nothing. For reports alone the order of their arrival
does not matter: of one attempt the furthest counts, in the order of REPORTS.
"""

import hashlib

# In this order within an attempt. A board on trial checks in with the new version: `runs` is a confirmed that may be taken back.
REPORTS = ("downloading", "staged", "deferred", "applied", "confirmed", "rolled_back", "refused", "failed")


def _row(reports, **events):
    """A report leads to the state of its name."""
    return {report: report for report in reports.split()} | events


_OPEN = {"runs": "confirmed", "silent": "lost", "newer": "superseded", "again": "offered"}
_ENDED = {"runs": "confirmed", "again": "offered", "offer": "offered"}

TABLE = {
    "offered": _row("downloading staged deferred applied confirmed rolled_back refused failed", **_OPEN),
    "downloading": _row("staged deferred applied confirmed rolled_back refused failed", **_OPEN),
    "staged": _row("deferred applied confirmed rolled_back refused failed", **_OPEN),
    "deferred": _row("applied confirmed rolled_back refused failed", **_OPEN),
    "applied": _row("confirmed rolled_back refused failed", **_OPEN),
    "confirmed": _row("rolled_back refused failed", returns="reverted", again="offered", offer="offered"),
    "rolled_back": _row("refused failed", **_ENDED),
    "refused": _row("failed", **_ENDED),
    "failed": _row("", **_ENDED),
    "lost": _row("downloading staged deferred applied confirmed rolled_back refused failed", **_ENDED),
    "reverted": _row("rolled_back refused failed", **_ENDED),
    "superseded": _row("", offer="offered"),
}

STATES = tuple(TABLE)
EVENTS = REPORTS + ("runs", "returns", "silent", "newer", "again", "offer")
OPEN = frozenset(("offered", "downloading", "staged", "deferred", "applied"))  # the offer stands
BAD = frozenset(("failed", "lost", "reverted", "rolled_back"))  # what the stop rule counts against a release
ENDED = BAD | {"confirmed", "refused"}  # what it counts at all; a superseded one tells nothing about the release

ATTEMPTS = 3
RETRY_S = (3600, 86400)  # after the first attempt, after the second


def after(state, event):
    """The state that `event` leads to from `state`, or None: it changes nothing."""
    return TABLE[state].get(event)


def after_report(state, attempt, report, reported_attempt):
    """(state, attempt) after a report, or None: it changes nothing. `attempt` is the device's own count, 0 before its first report."""
    if reported_attempt < attempt:
        return None
    if reported_attempt > attempt and attempt:
        state = after(state, "again")
    state = state and after(state, report)
    return state and (state, reported_attempt)


def next_try(state, tries, attempt, changed_s):
    """(number of the next try, the moment from which it may be offered), or None: the attempts are used up.

    For a device that had the update before and has come to an end with it. `tries`: how often it was offered; `attempt`: the
    device's own count, for a board that tries again by itself. A success, and a newer offer that came between, cost none.
    """
    if state == "confirmed":
        return 1, changed_s
    if state == "superseded":
        return tries, changed_s
    used = max(tries, attempt)
    return None if used >= ATTEMPTS else (used + 1, changed_s + RETRY_S[used - 1])


def stops(ended, least, percent):
    """Does the stop rule pause the release? `ended`: {state: number of devices that ended so last}.

    After at least `least` ended, the bad ones being `percent` % of them or more. No rule where `percent` is None.
    """
    bad = sum(ended.get(state, 0) for state in BAD)
    of = sum(ended.get(state, 0) for state in ENDED)
    return percent is not None and bad > 0 and of >= least and bad * 100 >= percent * of


def share(update, device):
    """Where the device stands among all, in [0, 100): below the percentage of the update it is in.

    The update's id is the salt, so that it is not the same devices that come first every time.
    """
    digest = hashlib.sha256(("%s\n%s" % (update, device)).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48 * 100
