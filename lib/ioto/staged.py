"""An image that lies verified in the inactive slot and waits: for the apply window, for somebody's decision.

It is the argument of `device:update`; apply() and defer() are the answers.
"""

from .log import log
from .parts import Part
from .schedule import is_always
from .uptime import uptime_s
from .watch import rSignal, watchers

ASK_AGAIN_S = 3600  # a signal that nobody answered is given again
_CONFIRMED_S = 300  # so long an offer holds
_LONG_S = 86400  # nothing to do in sight
_DEFER_MOST_S = 366 * 86400


class Staged:
    """`update`, `version` and `attempt` say what it is. Made by the agent; `wait_s` holds it back after a rollback."""

    def __init__(self, agent, wait_s=0):
        self.agent = agent
        self.record = record = agent.record
        self.update = record["update"]["update"]
        self.version = record["update"]["version"]
        self.attempt = record["attempt"]
        self.waiting = True
        self.asked = False  # the signal was given, and not answered yet
        self.agreed = False  # apply() was called; the cloud is asked first
        self.offered_s = agent.offered_s  # uptime of the last check-in whose answer offered this
        self.installing = None  # Linux: the task that runs the script
        self.postpone(wait_s)

    def postpone(self, seconds):
        self._next_s = uptime_s() + seconds

    def is_confirmed(self):
        """May it be applied now? This project's cloud has said so a short time ago; a stranger's is not asked."""
        is_ours = self.record["update"].get("ours")
        return not is_ours or self.offered_s is not None and uptime_s() - self.offered_s < _CONFIRMED_S

    def due_s(self):
        """Seconds until the signal: 0 for now; the apply window, a deferral and the pause between two signals count."""
        wait = max(0, self._next_s - uptime_s())
        now = self.agent.board.time_s()
        config = self.agent.config
        apply = config["update.apply"]
        if now is None:  # a clock that was never set opens no window
            return wait if is_always(apply) else _LONG_S
        until = self.record["defer"]
        if until and until - now <= _DEFER_MOST_S:  # else the clock was wrong then
            wait = max(wait, until - now)
        if is_always(apply):
            return wait
        from .window import next_open

        opens = next_open(apply, now + wait, config["timezone"])
        return _LONG_S if opens is None else opens - now

    def signal(self):
        """Ask: whoever watches `device:update` decides. On a host without a watcher scripts/update is run, as Ioto does."""
        self.postpone(ASK_AGAIN_S)
        if self.agreed:
            self.apply()
        elif watchers("device:update"):
            self.asked = True
            rSignal("device:update", self)
        elif self.agent.board.raw and self.agent.board.has_script():
            self.apply()
        else:
            log("warn", 'not applied: main.py needs rWatch("device:update", lambda data, staged: staged.apply())')

    def defer(self, seconds):
        """Not now: ask again when `seconds` have passed, also over resets."""
        if not self.waiting:
            return
        self.asked = self.agreed = False
        seconds = min(seconds, _DEFER_MOST_S)
        self.postpone(seconds)
        now = self.agent.board.time_s()
        with Part():
            self.agent.life.defer(now + seconds if now else None)
        self.agent.pair.keep(self.record)
        rSignal("device:update:deferred", self)
        self.agent.wake()

    def apply(self):
        """Swap the boot partition and reset: on a board this does not return.

        Where the cloud's last word is older than 5 minutes it is asked first: this returns None, and the swap follows by itself. On
        Linux `scripts/update` runs as a task, which is returned. What goes wrong is reported, not raised. A second call does nothing.
        """
        if self.waiting and self.is_confirmed():
            with Part():
                from .swap import swap

                return swap(self)
        if self.waiting:
            log("info", "the cloud is asked before the swap")
            self.agreed = True
            self.postpone(0)
            self.agent.wake()
