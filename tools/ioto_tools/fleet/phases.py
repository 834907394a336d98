"""The phases of an update on a simulated device, as the agent (lib/ioto) enters and reports them. Pure.

next_phase() is the transition table; the outcome of an update on a device is drawn once.
"""

# The phases of a device. A phase in REPORTS ends when the cloud has accepted the report.
PHASES = ("new", "idle", "offered", "download", "staged", "deferred", "waiting", "applied", "trial", "confirmed",
          "rolled_back", "failed", "refused", "dropped", "probation", "gone")  # fmt: skip
(NEW, IDLE, OFFERED, DOWNLOAD, STAGED, DEFERRED, WAITING, APPLIED, TRIAL, CONFIRMED, ROLLED_BACK, FAILED, REFUSED,
 DROPPED, PROBATION, GONE) = range(len(PHASES))  # fmt: skip
CHECKS_IN = (IDLE, WAITING, PROBATION)  # the device keeps checking in on schedule

REPORTS = {
    OFFERED: "downloading",
    STAGED: "staged",
    DEFERRED: "deferred",
    APPLIED: "applied",
    CONFIRMED: "confirmed",
    ROLLED_BACK: "rolled_back",
    FAILED: "failed",
    REFUSED: "refused",
    DROPPED: "refused",  # while this update waited, no update or a higher one was offered
}
REASONS = {ROLLED_BACK: "rolled_back", REFUSED: "image_chip", DROPPED: "withdrawn"}
FAILURES = (ROLLED_BACK, FAILED, REFUSED, DROPPED)
# What a device reports about a crash: `details` of its report. The number differs between devices.
CRASH_DETAILS = {
    "reset": "soft",
    "trace": 'Traceback (most recent call last):\n  File "main.py", line 21, in <module>\n'
    '  File "sensor.py", line 8, in read\nValueError: no answer from sensor %d',
    "log": "I the new version starts\nE main.py ended with an exception",
}

# The outcome of an update on a device.
GOOD = "good"
CRASH = "crash"  # the new image crashes at start: rolled back at every attempt
FAIL = "fail"  # downloaded, but the signature is invalid
REFUSE = "refuse"  # the image is not for this board
LOSE = "lose"  # applied, then the device is never seen again
REVERT = "revert"  # confirmed, but the old version runs again some check-ins later
DEFER = "defer"  # deferred DEFERRALS times, then good
UNREPORTED = "mute"  # good, but without reports: only the next check-in shows the new version
OUTCOMES = (CRASH, FAIL, REFUSE, LOSE, REVERT, DEFER, UNREPORTED)

ATTEMPTS = 3
DEFERRALS = 2

# Delays until the next phase begins; settings.py has the seconds.
NOW, FETCHED, APPLY, BOOT, RETRY, PUT_OFF, RELAPSE = "now", "fetched", "apply", "boot", "retry", "put_off", "relapse"


def first_phase(outcome: str) -> int:
    """The first phase after a device accepts an offer."""
    return REFUSED if outcome == REFUSE else OFFERED


def next_phase(phase: int, outcome: str, attempt: int, deferrals: int) -> tuple[int, str]:
    """The transition at the end of `phase`: (next phase, delay until it begins).

    `attempt` counts from 1, `deferrals` is the number already reported. From ROLLED_BACK to WAITING, the attempt
    increases by one.
    """
    if phase == OFFERED:
        return DOWNLOAD, NOW
    if phase == DOWNLOAD:
        return (FAILED if outcome == FAIL else STAGED), FETCHED
    if phase == STAGED:
        return (DEFERRED, NOW) if outcome == DEFER else (WAITING, APPLY)
    if phase == DEFERRED:
        return (DEFERRED if deferrals < DEFERRALS else WAITING), PUT_OFF
    if phase == WAITING:
        return APPLIED, NOW
    if phase == APPLIED:
        return _after_boot(outcome)
    if phase == TRIAL:
        return CONFIRMED, NOW
    if phase == ROLLED_BACK:
        return (WAITING, RETRY) if attempt < ATTEMPTS else (FAILED, NOW)
    if phase == CONFIRMED and outcome == REVERT:
        return PROBATION, RELAPSE
    return (OFFERED if phase == DROPPED else IDLE), NOW


def _after_boot(outcome: str) -> tuple[int, str]:
    if outcome == CRASH:
        return ROLLED_BACK, BOOT
    return (GONE, NOW) if outcome == LOSE else (TRIAL, BOOT)
