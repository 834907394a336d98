"""An update on a simulated device, step by step, as the agent (lib/ioto) goes through it and reports it. Pure.

after(phase, fate, ...) is the whole story; the fate of an update on a device is drawn once.
"""

# What a device is at. Those of REPORTS are over when the cloud has taken the report.
PHASES = ("new", "idle", "offered", "download", "staged", "deferred", "waiting", "applied", "trial", "confirmed",
          "rolled_back", "failed", "refused", "dropped", "probation", "gone")  # fmt: skip
(NEW, IDLE, OFFERED, DOWNLOAD, STAGED, DEFERRED, WAITING, APPLIED, TRIAL, CONFIRMED, ROLLED_BACK, FAILED, REFUSED,
 DROPPED, PROBATION, GONE) = range(len(PHASES))  # fmt: skip
RESTS = (IDLE, WAITING, PROBATION)  # the schedule of check-ins goes on

REPORTS = {
    OFFERED: "downloading",
    STAGED: "staged",
    DEFERRED: "deferred",
    APPLIED: "applied",
    CONFIRMED: "confirmed",
    ROLLED_BACK: "rolled_back",
    FAILED: "failed",
    REFUSED: "refused",
    DROPPED: "refused",  # no update, or a higher one, was offered while this one waited
}
REASONS = {ROLLED_BACK: "rolled_back", REFUSED: "image_chip", DROPPED: "withdrawn"}
FAILURES = (ROLLED_BACK, FAILED, REFUSED, DROPPED)

# What becomes of an update on a device.
GOOD = "good"
CRASH = "crash"  # the new image crashes at start: rolled back, as often as it is tried
FAIL = "fail"  # downloaded, and then its signature is no good
REFUSE = "refuse"  # not for this board
LOSE = "lose"  # applied, and never heard of again
REVERT = "revert"  # confirmed, and some check-ins later back on the old version
DEFER = "defer"  # put off DEFERRALS times, then good
MUTE = "mute"  # good, and no word about it but the next check-in
FATES = (CRASH, FAIL, REFUSE, LOSE, REVERT, DEFER, MUTE)

ATTEMPTS = 3
DEFERRALS = 2

# How long until the next phase begins; settings.py has the seconds.
NOW, FETCHED, APPLY, BOOT, RETRY, PUT_OFF, RELAPSE = "now", "fetched", "apply", "boot", "retry", "put_off", "relapse"


def begin(fate):
    """The phase with which a device takes an offer."""
    return REFUSED if fate == REFUSE else OFFERED


def after(phase, fate, attempt, deferrals):
    """What follows when `phase` has been carried out: (next phase, how long until then).

    `attempt` counts from 1, `deferrals` those already reported. From ROLLED_BACK to WAITING the attempt goes up by one.
    """
    if phase == OFFERED:
        return DOWNLOAD, NOW
    if phase == DOWNLOAD:
        return (FAILED if fate == FAIL else STAGED), FETCHED
    if phase == STAGED:
        return (DEFERRED, NOW) if fate == DEFER else (WAITING, APPLY)
    if phase == DEFERRED:
        return (DEFERRED if deferrals < DEFERRALS else WAITING), PUT_OFF
    if phase == WAITING:
        return APPLIED, NOW
    if phase == APPLIED:
        return _after_boot(fate)
    if phase == TRIAL:
        return CONFIRMED, NOW
    if phase == ROLLED_BACK:
        return (WAITING, RETRY) if attempt < ATTEMPTS else (FAILED, NOW)
    if phase == CONFIRMED and fate == REVERT:
        return PROBATION, RELAPSE
    return (OFFERED if phase == DROPPED else IDLE), NOW


def _after_boot(fate):
    if fate == CRASH:
        return ROLLED_BACK, BOOT
    return (GONE, NOW) if fate == LOSE else (TRIAL, BOOT)
