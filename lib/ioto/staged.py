"""The staged image: verified in the inactive slot, waiting for the apply window and for the application's decision.

An instance is the argument of `device:update`; the application decides with apply() or defer().
"""

from .log import log
from .masks import is_always
from .parts import Part
from .uptime import uptime_s
from .watch import rSignal, watchers

_ASK_AGAIN_S = 3600  # an unanswered signal is repeated after this time
_CONFIRMED_S = 300  # an offer is valid for this time
_LONG_S = 86400  # the wait if nothing is due
_DEFER_MOST_S = 366 * 86400


def wait_for_decision(agent, wait_s=0):
    """Create `agent.staged`, which signals `device:update`.

    A reset does not change how long an offer is valid.
    """
    now, before = agent.board.time_s(), agent.record["offered"]
    if agent.offered_s is None and now and before and before <= now:
        agent.offered_s = uptime_s() - (now - before)
    agent.staged = Staged(agent, wait_s)


class Staged:
    """A staged image, identified by `update`, `version` and `attempt`.

    Created by the agent. `wait_s` delays the first signal, for example after a rollback. `about` is what the reply to
    the last check-in says about the release, see offer.about().
    """

    def __init__(self, agent, wait_s=0):
        self.agent = agent
        self.record = record = agent.record
        self.update = record["update"]["update"]
        self.version = record["update"]["version"]
        self.attempt = record["attempt"]
        self.waiting = True
        self.asked = False  # the signal was sent and not answered yet
        self.apply_requested = False  # apply() was called, but the cloud must be asked first
        self.offered_s = agent.offered_s  # uptime of the last check-in whose reply offered this update
        self.about = agent.about
        self.installing = None  # Linux: the task that runs the script
        self.postpone(wait_s)

    @property
    def notes(self):
        return self.about.get("notes", "")

    def postpone(self, seconds=_ASK_AGAIN_S):
        self._next_s = uptime_s() + seconds

    def is_confirmed(self):
        """May the image be applied now? This project's cloud must have offered it recently; others are not asked."""
        is_ours = self.record["update"].get("ours")
        return not is_ours or self.offered_s is not None and uptime_s() - self.offered_s < _CONFIRMED_S

    def due_s(self):
        """Seconds until the signal, 0 if due now.

        Respects the apply window, a deferral and the pause between two signals.
        """
        wait = max(0, self._next_s - uptime_s())
        now = self.agent.board.time_s()
        config = self.agent.config
        apply = config["update.apply"]
        if now is None:  # without a set clock no window is open
            return wait if is_always(apply) else _LONG_S
        until = self.record["defer"]
        if until and until - now <= _DEFER_MOST_S:  # otherwise the clock was wrong at the deferral
            last = self.about.get("no_defer_after", until)
            wait = max(wait, until - now) if until <= last else max(0, last - now)
        if is_always(apply):
            return wait
        from .window import next_open

        opens = next_open(apply, now + wait, config["timezone"])
        return _LONG_S if opens is None else opens - now

    def signal(self):
        """Signal `device:update`; its watcher decides.

        Without a watcher, a Linux host runs scripts/update, as Ioto does.
        """
        self.postpone()
        self.record["defer"] = None  # the deferral is over
        if self.apply_requested:
            self.apply()
        elif watchers("device:update"):
            self.asked = True
            rSignal("device:update", self)
        elif self.agent.board.raw and self.agent.board.has_script():
            self.apply()
        else:
            log("warn", 'not applied: main.py needs rWatch("device:update", lambda data, staged: staged.apply())')

    def defer(self, seconds):
        """Postpone the decision: signal `device:update` again after `seconds`, even if the board is reset.

        After the date that the operator has set for a security release, this applies the update instead. Without a set
        clock, there is no such date.
        """
        if not self.waiting:
            return
        now = self.agent.board.time_s()
        if now and now >= self.about.get("no_defer_after", now + 1):
            log("warn", "no longer deferred")
            return self.apply()
        self.asked = self.apply_requested = False
        seconds = min(seconds, _DEFER_MOST_S)
        self.postpone(seconds)
        with Part():
            self.agent.life.defer(now + seconds if now else None)
        self.agent.store.keep(self.record)
        rSignal("device:update:deferred", self)
        self.agent.wake()

    def apply(self):
        """Swap the boot partition and reset; on a board this does not return.

        If the cloud's last offer is older than 5 minutes, the cloud is asked first: apply() returns None, and the swap
        follows automatically. On Linux `scripts/update` runs as a task, which is returned. Errors are reported, not
        raised. A second call does nothing.
        """
        if self.waiting and self.is_confirmed():
            with Part():
                from .swap import swap

                return swap(self)
        if self.waiting:
            log("info", "asking the cloud before the swap")
            self.apply_requested = True
            self.postpone(0)
            self.agent.wake()
