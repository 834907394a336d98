"""The states of an update on a device, as one transition table: event x state -> state. Pure.

The events are the device's reports (REPORTS) and these:

    runs      a check-in contains the update's version; some clients report nothing else
    returns   a check-in contains the old version again, after success
    silent    no check-in and no report for much longer than the device's usual interval (lost_devices.py)
    newer     the device is offered another update
    again     a report of a later attempt, which the device started by itself
    offer     the cloud offers the update again
    unfit     a report `refused` with a reason that blames the release (UNFIT)
    withdrawn a report `refused` with the reason `withdrawn`, or a check-in of a device that may no longer apply
              the update and does not have it staged
    retry     an operator requests another try

An event that is not in the state's row (late, repeated or impossible) changes nothing. As long as only reports arrive,
their order does not matter: within an attempt, the last one in the order of REPORTS counts.
"""

import hashlib
from typing import Any

# In the order of an attempt. A board in the trial boot of an image checks in with the new version: `runs` leads to
# `confirmed`, and a report `rolled_back` may still follow.
REPORTS = ("downloading", "staged", "deferred", "applied", "confirmed", "rolled_back", "refused", "failed")


def _row(reports: str, **events: str) -> dict[str, str]:
    """A table row in which each of `reports` leads to the state of the same name."""
    return {report: report for report in reports.split()} | events


_REFUSALS = {"unfit": "unfit", "withdrawn": "withdrawn"}
_OPEN = {"runs": "confirmed", "silent": "lost", "newer": "superseded", "again": "offered", **_REFUSALS}
_ENDED = {"runs": "confirmed", "again": "offered", "offer": "offered"}

TABLE = {
    "offered": _row("downloading staged deferred applied confirmed rolled_back refused failed", **_OPEN),
    "downloading": _row("staged deferred applied confirmed rolled_back refused failed", **_OPEN),
    "staged": _row("deferred applied confirmed rolled_back refused failed", **_OPEN),
    "deferred": _row("applied confirmed rolled_back refused failed", **_OPEN),
    "applied": _row("confirmed rolled_back refused failed", **_OPEN),
    "confirmed": _row(
        "rolled_back refused failed", returns="reverted", again="offered", offer="offered", unfit="unfit"
    ),
    "rolled_back": _row("refused failed", **_ENDED, **_REFUSALS, retry="rolled_back"),
    "refused": _row("failed", **_ENDED, retry="withdrawn"),
    "unfit": _row("failed", **_ENDED, retry="withdrawn"),
    "failed": _row("", **_ENDED, retry="failed"),
    "lost": _row(
        "downloading staged deferred applied confirmed rolled_back refused failed", **_ENDED, **_REFUSALS, retry="lost"
    ),
    "reverted": _row("rolled_back refused failed", **_ENDED, unfit="unfit", retry="reverted"),
    "superseded": _row("", offer="offered", withdrawn="withdrawn"),
    "withdrawn": _row("applied confirmed rolled_back refused failed", runs="confirmed", offer="offered", unfit="unfit"),
}

STATES = tuple(TABLE)
EVENTS = REPORTS + ("runs", "returns", "silent", "newer", "again", "offer", "unfit", "withdrawn", "retry")
OPEN = frozenset(("offered", "downloading", "staged", "deferred", "applied"))  # the offer is valid
UNAPPLIED = OPEN - {"applied"}  # the device may still apply the update, and the update can still be withdrawn
SUPERSEDED = "superseded"
WITHDRAWN = "withdrawn"  # the only state without a rollout slot
FAILURES = frozenset(("failed", "lost", "reverted", "rolled_back", "unfit"))  # failures for the stop rule
# All outcomes for the stop rule. The state `refused` is not among them: its reasons say nothing about the release.
OUTCOMES = FAILURES | {"confirmed"}
FINISHED = OUTCOMES | {"refused"}
RETRYABLE = frozenset(state for state, row in TABLE.items() if "retry" in row)

# Reasons of a report `refused` that blame the release: its image, manifest, signature, chip or size.
# All other reasons are due to the device (`record_failed`, `no_memory`), its owner or an operator.
UNFIT = frozenset((
    "checksum_mismatch", "image_chip", "image_magic", "image_malformed", "image_merged", "image_revision",
    "manifest_expired", "manifest_malformed", "manifest_mismatch", "signature_invalid", "size_mismatch",
    "size_too_large", "size_zero", "unsigned",
))  # fmt: skip

# Reasons why the download of a packed file failed that do not blame the network, the store, or the board's flash: the
# file may be corrupt, or the device unable to unpack it. The first two are only reported about packed files.
_PACKED_ONLY = frozenset(("base_mismatch", "packed_malformed"))
_PACKED_REPORTED = _PACKED_ONLY | UNFIT
# The device does not report these, but sends them as `error` in its next check-in.
_PACKED_ERRORS = _PACKED_ONLY | {
    "checksum_mismatch", "image_magic", "no_memory", "size_mismatch", "size_too_large", "size_zero", "unforeseen",
}  # fmt: skip

STUCK_S = 6 * 86400
STUCK_CHECK_INS = 4
MAX_ATTEMPTS = 3
RETRY_DELAYS_S = (3600, 86400)  # after the first attempt, after the second
# Tolerated difference between the servers' clocks; a time further in the future is from a wrong clock.
CLOCK_TOLERANCE_S = 20


def next_state(state: str, event: str) -> str | None:
    """The state after `event` in `state`, or None: no change."""
    return TABLE[state].get(event)


def event_of_report(report: str, reason: str, ended: str | None = None) -> str:
    """The event for a report and its reason. `ended`: the state in which the device's last attempt ended."""
    if report != "refused":
        return report
    if reason == "failed_before" and ended == "unfit":  # the device repeats its earlier refusal, whose cause is known
        return "unfit"
    return WITHDRAWN if reason == WITHDRAWN else "unfit" if reason in UNFIT else report


def is_packed_fault(report: str, reason: str, is_packed: bool) -> bool:
    """Is the report, with its reason, about a packed file instead of about the release?

    `is_packed`: the device is offered a packed file. A report of _PACKED_ONLY may arrive late, when the device has been
    offered the whole image, or runs it already.
    """
    if report not in ("refused", "failed"):
        return False
    return reason in _PACKED_ONLY or is_packed and reason in _PACKED_REPORTED


def is_packed_error(reason: Any) -> bool:
    """Does `error` in a check-in mean that the packed file can't be used on the device, which was offered one?"""
    return isinstance(reason, str) and reason in _PACKED_ERRORS


def is_packed_stuck(state: str, since_s: int, next_s: int | None) -> bool:
    """Has the device had time enough to download its packed file, and not staged it?

    `since_s`: seconds since the offer; `next_s`: between its check-ins, None if it does not send that. This is the way
    back to the whole image for faults that no reason describes, for example a decoder that hangs.
    """
    return state in ("offered", "downloading") and since_s > max(STUCK_S, STUCK_CHECK_INS * (next_s or 0))


def apply_report(state: str, attempt: int, report: str, reported_attempt: int) -> tuple[str, int] | None:
    """(state, attempt) after the event `report`, or None: no change.

    `attempt`: the device's own count, 0 before its first report.
    """
    if reported_attempt < attempt:
        return None
    before = next_state(state, "again") if reported_attempt > attempt and attempt else state
    found = before and next_state(before, report)
    return (found, reported_attempt) if found else None


def next_try(state: str, tries: int, attempt: int, changed_s: int) -> tuple[int, int] | None:
    """(number of the next try, time from which it may be offered), or None: the attempts are used up.

    For a device whose last attempt has ended. `tries`: how often the update was offered, reset to 0 when an operator
    requests another try; `attempt`: the device's own count, for a board that tries again by itself. Successes,
    superseded offers and withdrawn offers do not use up an attempt.
    """
    if state == "confirmed" or not tries:
        return 1, changed_s
    if state in ("superseded", WITHDRAWN):
        return tries, changed_s
    used = max(tries, attempt)
    return None if used >= MAX_ATTEMPTS else (used + 1, changed_s + RETRY_DELAYS_S[used - 1])


def must_wait(due_s: int, changed_s: int, now_s: int) -> bool:
    """Must the next try wait, because it is before `due_s`?

    Not if `changed_s`, the time when the last attempt ended, is in the future: a wrong clock recorded it.
    """
    return now_s < due_s and changed_s <= now_s + CLOCK_TOLERANCE_S


def is_new(since_s: int, age_s: int, now_s: int) -> bool:
    """Is a device that has been known since `since_s` too new for a release with this `age_s`?"""
    return age_s > 0 and now_s - since_s < age_s and since_s <= now_s + CLOCK_TOLERANCE_S


def rollout_position(update: str, device: str) -> float:
    """The device's position in the rollout, in [0, 100). If it is less than the percentage, the device is included.

    The update's id is the salt, so that different updates start with different devices.
    """
    digest = hashlib.sha256(("%s\n%s" % (update, device)).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48 * 100
