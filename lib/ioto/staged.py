"""An image that lies verified in the inactive slot and waits: for the apply window, for somebody's decision.

It is the argument of `device:update`; apply() and defer() are the answers.
"""

from . import window
from .errors import UpdateError, refusal
from .log import log
from .record import copied
from .uptime import uptime_s
from .watch import rSignal, rSignalSync, watchers

_ASK_AGAIN_S = 3600  # a signal that nobody answered is given again
_LONG_S = 86400  # nothing to do in sight
_VALIDATE_FAILED = "-5379"  # ESP_ERR_OTA_VALIDATE_FAILED
_DEFER_MOST_S = 366 * 86400


class Staged:
    """`update`, `version` and `attempt` say what it is. Made by the agent; `wait_s` holds it back after a rollback,
    `wake` is called when an answer has changed what is due.
    """

    def __init__(self, life, pair, board, config, wake, wait_s=0):
        self.life = life
        self.pair = pair
        self.board = board
        self.config = config
        self.wake = wake
        self.update = life.record["update"]["update"]
        self.version = life.record["update"]["version"]
        self.attempt = life.record["attempt"]
        self.waiting = True
        self.asked = False  # the signal was given, and not answered yet
        self.installing = None  # Linux: the task that runs the script
        self._not_before(wait_s)

    def _not_before(self, seconds):
        self._next_s = uptime_s() + seconds

    def due_s(self):
        """Seconds until the signal: 0 for now; the apply window, a deferral and the pause between two signals count."""
        wait = max(0, self._next_s - uptime_s())
        now = self.board.time_s()
        apply = self.config["update.apply"]
        if now is None:  # a clock that was never set opens no window
            return wait if window.is_always(apply) else _LONG_S
        until = self.life.record["defer"]
        if until and until - now <= _DEFER_MOST_S:  # else the clock was wrong then
            wait = max(wait, until - now)
        opens = window.next_open(apply, now + wait, self.config["timezone"])
        return _LONG_S if opens is None else opens - now

    def signal(self):
        """Ask: whoever watches `device:update` decides. On a host without a watcher scripts/update is run, as Ioto does."""
        self._not_before(_ASK_AGAIN_S)
        if watchers("device:update"):
            self.asked = True
            rSignal("device:update", self)
        elif self.board.raw and self.board.has_script():
            self.apply()
        else:
            log("warn", 'not applied: main.py needs rWatch("device:update", lambda data, staged: staged.apply())')

    def defer(self, seconds):
        """Not now: ask again when `seconds` have passed, also over resets."""
        if not self.waiting:
            return
        self.asked = False
        seconds = min(seconds, _DEFER_MOST_S)
        self._not_before(seconds)
        now = self.board.time_s()
        self.life.defer(now + seconds if now else None)
        self.pair.keep(self.life.record)
        rSignal("device:update:deferred", self)
        self.wake()

    def apply(self):
        """Swap the boot partition and reset: on a board this does not return.

        On Linux `scripts/update` runs as a task, which is returned. What goes wrong is reported, not raised. A second
        call does nothing.
        """
        if not self.waiting:
            return None
        record = self.life.record
        before = copied(record)
        raw = self.board.raw
        if not raw:
            from .slot import seal  # while nothing has changed: there may be no memory for it
        self.life.swap()
        if not self.pair.keep(record):  # the intent, before the act
            record.update(before)
            self._not_before(_ASK_AGAIN_S)
            rSignal("device:update:failed", UpdateError("record_failed", "not applied"))
            return None
        self.waiting = False
        try:
            slot = self.board.slot()
            if not raw:
                self.board.stay()
                seal(slot, bytes.fromhex(record["head"]))
            self.installing = self.board.install(slot, self)
        except (UpdateError, OSError) as e:
            self.lost(refusal(e, "boot_refused"))
        except MemoryError:  # as if it had not been asked for
            record.update(before)
            self.pair.keep(record)
            self.waiting = True
            raise
        return self.installing

    def lost(self, e):
        """The swap, or the script, has failed."""
        log("error", "swap: %s" % e)
        if self.life.record["phase"] == "trial":
            if _VALIDATE_FAILED in e.detail:  # by set_boot(), of what was verified: the release is to blame
                self.life.fail(e.reason)
            else:
                self.life.again(e.reason, "download")
        rSignalSync("device:update:failed", e)
        self.pair.keep(self.life.record)
        self.wake()
