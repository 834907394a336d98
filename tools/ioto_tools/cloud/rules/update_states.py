"""Where an update stands on a device, as one table: event x state -> state. Pure.

Events are what a device reports, and what the cloud sees by itself:

    runs      a check-in tells the update's version; strangers never report more than that
    returns   a check-in tells the old version again, after success
    silent    neither check-in nor report for much longer than the device stays away by itself (lost_devices.py)
    newer     the device is offered another update
    again     a report from a further attempt of the device's own: it starts over
    offer     the cloud offers the update once more
    unfit     a report `refused` whose reason says that the release is at fault (UNFIT)
    withdrawn a report `refused` with the reason `withdrawn`, or a check-in that shows that the device does not hold what it may not apply
    retry     an operator wants it tried again

What stands in no row (a late, repeated or impossible event) changes nothing. For reports alone the order of their arrival
does not matter: of one attempt the furthest counts, in the order of REPORTS.
"""

import hashlib

# In this order within an attempt. A board on trial checks in with the new version: `runs` is a confirmed that may be taken back.
REPORTS = ("downloading", "staged", "deferred", "applied", "confirmed", "rolled_back", "refused", "failed")


def _row(reports, **events):
    """A report leads to the state of its name."""
    return {report: report for report in reports.split()} | events


_JUDGED = {"unfit": "unfit", "withdrawn": "withdrawn"}
_OPEN = {"runs": "confirmed", "silent": "lost", "newer": "superseded", "again": "offered", **_JUDGED}
_ENDED = {"runs": "confirmed", "again": "offered", "offer": "offered"}

TABLE = {
    "offered": _row("downloading staged deferred applied confirmed rolled_back refused failed", **_OPEN),
    "downloading": _row("staged deferred applied confirmed rolled_back refused failed", **_OPEN),
    "staged": _row("deferred applied confirmed rolled_back refused failed", **_OPEN),
    "deferred": _row("applied confirmed rolled_back refused failed", **_OPEN),
    "applied": _row("confirmed rolled_back refused failed", **_OPEN),
    "confirmed": _row("rolled_back refused failed", returns="reverted", again="offered", offer="offered", unfit="unfit"),
    "rolled_back": _row("refused failed", **_ENDED, **_JUDGED, retry="rolled_back"),
    "refused": _row("failed", **_ENDED, retry="withdrawn"),
    "unfit": _row("failed", **_ENDED, retry="withdrawn"),
    "failed": _row("", **_ENDED, retry="failed"),
    "lost": _row("downloading staged deferred applied confirmed rolled_back refused failed", **_ENDED, **_JUDGED, retry="lost"),
    "reverted": _row("rolled_back refused failed", **_ENDED, unfit="unfit", retry="reverted"),
    "superseded": _row("", offer="offered", withdrawn="withdrawn"),
    "withdrawn": _row("applied confirmed rolled_back refused failed", runs="confirmed", offer="offered", unfit="unfit"),
}

STATES = tuple(TABLE)
EVENTS = REPORTS + ("runs", "returns", "silent", "newer", "again", "offer", "unfit", "withdrawn", "retry")
OPEN = frozenset(("offered", "downloading", "staged", "deferred", "applied"))  # the offer is valid
UNAPPLIED = OPEN - {"applied"}  # the device may still apply it, and can still be kept from it
SUPERSEDED = "superseded"
WITHDRAWN = "withdrawn"  # the one state without a rollout slot
BAD = frozenset(("failed", "lost", "reverted", "rolled_back", "unfit"))  # what the stop rule counts against a release
COUNTED = BAD | {"confirmed"}  # what it counts at all; a refusal for other reasons tells nothing about the release
ENDED = COUNTED | {"refused"}
RETRIED = frozenset(state for state, row in TABLE.items() if "retry" in row)

# Reasons of a report `refused` that speak against the release: its image, its manifest, its signature, its chip or size.
# All others are the device's own affair (`record_failed`, `no_memory`), its owner's, or were caused by an operator.
UNFIT = frozenset((
    "checksum_mismatch", "image_chip", "image_magic", "image_malformed", "image_merged", "image_revision", "manifest_expired", "manifest_malformed",
    "manifest_mismatch", "signature_invalid", "size_mismatch", "size_too_large", "size_zero", "unsigned",
))  # fmt: skip

ATTEMPTS = 3
RETRY_S = (3600, 86400)  # after the first attempt, after the second
AHEAD_S = 20  # clocks of servers may differ by so much; a moment further in the future was noted by a clock that was wrong


def after(state, event):
    """The state that `event` leads to from `state`, or None: it changes nothing."""
    return TABLE[state].get(event)


def event_of(report, reason, ended=None):
    """The event that a report is, by its reason; `ended`: the state in which the update ended last on the device."""
    if report != "refused":
        return report
    if reason == "failed_before" and ended == "unfit":  # the device remembers, and the cloud does too
        return "unfit"
    return WITHDRAWN if reason == WITHDRAWN else "unfit" if reason in UNFIT else report


def after_report(state, attempt, report, reported_attempt):
    """(state, attempt) after a report (an event), or None: it changes nothing. `attempt` is the device's own count, 0 before its
    first report.
    """
    if reported_attempt < attempt:
        return None
    if reported_attempt > attempt and attempt:
        state = after(state, "again")
    state = state and after(state, report)
    return state and (state, reported_attempt)


def next_try(state, tries, attempt, changed_s):
    """(number of the next try, the moment from which it may be offered), or None: the attempts are used up.

    For a device that had the update before and has come to an end with it. `tries`: how often it was offered, 0 since an operator
    asked for another try; `attempt`: the device's own count, for a board that tries again by itself. A success, a newer offer that
    came between, and an offer that was withdrawn cost none.
    """
    if state == "confirmed" or not tries:
        return 1, changed_s
    if state in ("superseded", WITHDRAWN):
        return tries, changed_s
    used = max(tries, attempt)
    return None if used >= ATTEMPTS else (used + 1, changed_s + RETRY_S[used - 1])


def waits(due_s, changed_s, now_s):
    """Is the next try, from `due_s` on, not due yet, the update having ended at `changed_s`?"""
    return now_s < due_s and changed_s <= now_s + AHEAD_S


def is_new(since_s, age_s, now_s):
    """Is a device that is known since `since_s` too new for a release with this `age_s`?"""
    return age_s > 0 and now_s - since_s < age_s and since_s <= now_s + AHEAD_S


def stops(ended, least, percent):
    """Does the stop rule pause the release? `ended`: {state: number of devices that ended so last}.

    After at least `least` of COUNTED ended, the bad ones being `percent` % of them or more. No rule where `percent` is None.
    """
    bad = sum(ended.get(state, 0) for state in BAD)
    of = sum(ended.get(state, 0) for state in COUNTED)
    return percent is not None and bad > 0 and of >= least and bad * 100 >= percent * of


def share(update, device):
    """Where the device stands among all, in [0, 100): below the percentage of the update it is in.

    The update's id is the salt, so that it is not the same devices that come first every time.
    """
    digest = hashlib.sha256(("%s\n%s" % (update, device)).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48 * 100
