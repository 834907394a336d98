"""The agent's main loop: link, clock, trial, check-in, download, decision and reports.

Between rounds, the loop sleeps until the next step is due. All dependencies are passed in (setup.py creates the agent).
One task does all the work, so two steps never run at the same time; watchers run as tasks of their own. Most of a
step's code is a part, which is loaded for the step and unloaded afterwards (parts.py). State that must outlast a step
is therefore stored in the Agent, as plain data.
"""

import asyncio
import gc

from . import schedule
from .errors import Paused, refusal
from .log import log
from .parts import Part
from .reserve import free, hold
from .uptime import uptime_s
from .watch import rSignal
from .watchdog import guard

_LOOK_S = 60  # longest sleep; a clock jump is noticed within this time
_LONG_S = 86400  # the wait if nothing is due
# After this many saves, the folder is replaced (folder.py). littlefs compacts it after 58. If Pair.keep() makes
# the 24th save, the next chance is the 48th.
_RENEW_EVERY = 24
_PAUSE_S = 10  # after an error in a round
_BEFORE = {
    "begin": "recall update ",
    "clock": "timezone connect ",
    "checkin": "connect ",
    "fetch": "connect bounds ",
}  # the modules that do() loads before the part


def link_changed(connected, why):
    """Log a change of the Wi-Fi link. Wifi stores this function, so its module must be one that stays loaded."""
    log("info", "Wi-Fi %s %s" % (connected, why))


class Agent:
    """The agent.

    `config` is from config.load(), `device` has the properties of device.json, and `provision` the result of
    registration. `board` is a Board (board.py, linux.py), `store` a record.Pair. `link` is a Wifi (wifi.py), or None if
    the agent does not set up the link.
    """

    def __init__(self, config, device, provision, board, store, link=None):
        from .recall import empty

        self.config = config
        self.device = device
        self.provision = provision
        self.kept = True  # is `provision` stored in the file system?
        self.board = board
        self.store = store
        self.link = link
        self.record = empty()
        self.trial = None  # during the first boot of an image: its otadata state
        self.staged = None  # Staged, while an image waits for the decision
        self.error = ""  # reason why the last check-in failed, sent with the next one
        self.alone = False  # this boot runs without the application
        self.alone_s = 0  # uptime before which no such boot is requested
        self.memory = ""  # detail of the last no_memory error, sent with the next check-in
        self.least = 1 << 29  # the smallest free heap seen, in bytes
        self.connected = None
        self.addresses = {}  # cached host addresses, see resolver.py
        self.clock_due_s = 0  # uptime at which the clock is next set
        self.ntp_set = not config["ntp.server"]  # was the clock set by anything other than the cloud?
        self.offered_s = None  # uptime of the last check-in whose reply offered the current update
        self.about = {}  # what that reply says about the release, see offer.about()
        self.hold_s = 0  # seconds until the next request, as asked by the cloud in its last reply
        self.date_s = 0  # date of the last reply in Unix seconds, if TLS verified the server
        self.until_s = None  # uptime at which a download pauses, see run_once()
        self.report_s = 0  # uptime before which no report is sent
        self._tried_s = None  # uptime from which the wait for the next check-in is measured, see _tried()
        self.begun = False
        self._guarded = False
        self._wake = asyncio.Event()
        self.wake = self._wake.set

    async def run(self):
        """Run forever, feeding the watchdog: anything that blocks or ends the loop causes a reset."""
        if 0 < self.config["watchdog"] < _LONG_S:
            self.guard()
        while True:
            try:
                await self.turn()
                await self._rest(min(self.next_wake_s(), _LOOK_S))
            except MemoryError:  # raised while another failure was handled
                gc.collect()
                await asyncio.sleep_ms(1000)

    async def run_once(self, limit_s=60):
        """Do what is due and return the seconds (1 or more) until the next step. For boards that sleep.

        A download that takes longer than `limit_s` is resumed by the next call, even after a deep sleep. A
        `device:update` watcher gets the same time to decide. A trial is always finished, however long it takes.
        """
        self.until_s = uptime_s() + limit_s
        while True:
            await self.turn()
            wait_s = self.next_wake_s()
            left_s = self.until_s - uptime_s()
            asked = self.staged and (self.staged.installing or self.staged.asked)
            if left_s <= 0 or wait_s and not asked:
                break
            await self._rest(left_s if asked else 1)
        self.board.settled()
        return max(1, wait_s)

    async def _rest(self, seconds):
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except asyncio.TimeoutError:
            pass
        except MemoryError:
            await asyncio.sleep(1)
        self._wake.clear()

    def guard(self):
        """Arm the watchdog, once."""
        if not self._guarded:
            self._guarded = True
            guard(self, self.config["watchdog"])

    async def begin(self):
        """Before the first round, determine what kind of boot this is."""
        await self.do("begin")
        self.begun = True

    async def turn(self):
        """Run one round: do everything that is due. Failures are logged, reported and retried."""
        try:
            if not self.begun:
                await self.begin()
            if self.board.time_s() is None:
                await self._keep_time()  # windows need the time
            if self.trial:
                if not await self.do("trial"):  # not finished: the board resets, or the next round continues the trial
                    return
                self.trial = None
            elif self.due_s() == 0:
                await self._check()
            if self._is_decision_due():
                self.staged.signal()
                # A watcher that calls apply() immediately resets the board here, not during a handshake.
                await asyncio.sleep_ms(0)
            await self._deliver()
        except Exception as e:  # any exception: if the loop ended, the board would be lost
            log("error", "%r" % e)
            await asyncio.sleep(_PAUSE_S)

    async def do(self, part, step="run"):
        """Load a part, run its `step(agent)`, unload the part, and return the step's result."""
        gc.collect()
        keep = hold
        try:
            with Part():
                try:
                    await self.load(_BEFORE.get(part, "") + part)
                    return await getattr(__import__("ioto." + part, None, None, (step,)), step)(self)
                finally:
                    await asyncio.sleep_ms(0)  # let cancelled tasks end
        except MemoryError:
            keep = free  # the next attempt needs this memory more than a handshake does
            raise
        finally:
            if self.config["tls.ca"]:
                keep()

    async def load(self, parts):
        """Import modules before they are needed, one per turn of the loop, because an import blocks it."""
        for name in parts.split():
            __import__("ioto." + name)
            self.see_heap()  # an import leaves some KB of garbage
            await asyncio.sleep_ms(0)

    def see_heap(self):
        gc.collect()
        self.least = min(self.least, gc.mem_free())

    @property
    def life(self):
        """The Update that changes the record.

        Created for each use, because a stored instance would keep update.py loaded.
        """
        from .update import Update

        return Update(
            self.record, self.board.running, self.board.build, self.config["version"], self.config["update.attempts"]
        )

    def is_suspect(self):
        """Did the staged image's trial time out, for a cause that is not known yet (the image or an outage)?"""
        return self.record["phase"] == "staged" and self.record["why"] == "trial_timeout"

    def client(self, seen=None):
        """Return the transport for one check-in or one download, see connect.client()."""
        from .connect import client

        return client(self, seen)

    def api(self):
        return (self.config["api"] or self.provision.get("api") or "").rstrip("/")

    def token(self):
        return self.config["token"] or self.provision.get("token") or ""

    def registered(self):
        return self.api() and self.token()

    def next_wake_s(self):
        """Seconds until the next check-in, decision or report; 0 if one is due now."""
        wait = self.due_s()
        if self.record["reports"] and self.registered():
            wait = min(wait, max(0, self.report_s - uptime_s()))
        if self.staged and self.staged.waiting and not self.alone and self.staged.is_confirmed():
            wait = min(wait, self.staged.due_s())
        return wait

    def _is_decision_due(self):
        staged = self.staged
        return staged and staged.waiting and not self.alone and staged.is_confirmed() and staged.due_s() == 0

    def pause_s(self):
        """Seconds before the next trial of the staged image; longer after each trial that failed due to an outage."""
        retry_s = self.config["update.retry"]
        return max(retry_s, min(retry_s << min(self.record["outages"], 20), _LONG_S))

    def due_s(self):
        """Seconds until the next check-in; 0 when it is due."""
        if not self.config["services.update"] or self.staged and self.staged.installing:
            return _LONG_S  # the image file must not change while the script runs
        if self.alone and self._tried_s is None:
            return 0  # the check-in is the purpose of this boot
        record = self.record
        if self._tried_s is None and self.is_suspect():
            return 0
        wait = schedule.due_s(
            self.board.time_s(), uptime_s(), self._tried_s, self.config["update.schedule"], self.config["timezone"],
            self.config["update.period"], self.config["update.jitter"] if self.registered() else 0, record["tried"],
            record["failures"], record["hold"], self.device["id"], self.board.cold,
        )  # fmt: skip
        wait = _LONG_S if wait is None else wait
        staged = self.staged
        if staged and staged.waiting and not staged.is_confirmed():  # the check-in before the swap ignores the schedule
            pause_s = 0
            if self._tried_s is not None and (record["failures"] or record["hold"]):
                period_s = self.config["update.period"] if record["failures"] else 0
                pause_s = (
                    self._tried_s
                    - uptime_s()
                    + schedule.rest_s(period_s, 0, record["failures"], record["hold"], self.device["id"])
                )
            wait = min(wait, max(staged.due_s(), pause_s))
        return wait

    async def save(self):
        """Save the record; a failure is logged and reported."""
        try:
            await self.store.save(self.record)
        except (OSError, MemoryError) as e:
            log("error", "record: %r" % e)
            self.error = "record_failed"
        if not (self.store.seq % _RENEW_EVERY or self.board.raw):
            await self.do("folder")

    async def online(self):
        """Bring up the link and set the clock if due; OSError if there is no link."""
        if self.link:
            await self.link.up()
        await self._keep_time()

    def is_clock_doubtful(self):
        """Did the certificate contradict the clock at the last check-in?"""
        return self.error in ("tls_not_yet", "tls_expired")

    async def _keep_time(self):
        if self.config["ntp.server"] and (uptime_s() >= self.clock_due_s or self.is_clock_doubtful()):
            try:
                if self.link:
                    await self.link.up()
                await self.do("clock")
            except OSError as e:
                log("warn", "clock unset: %r" % e)

    async def _check(self):
        """Check in and carry out the result."""
        record = self.record
        tried_s = uptime_s()
        tried = self.board.time_s()
        record["hold"] = self.hold_s = 0
        try:
            if self.goes_alone() == "always":
                await self.do("alone")
                raise OSError("waiting for a boot without the application")
            await self.online()
            if await self.do("checkin"):
                await self.do("fetch")
            record["failures"] = 0
            # After success in a boot without the application, a single no_memory error requests the next such boot.
            record["short"] = int(self.alone)
            self.error = self.memory = ""
            self._tried(tried_s, tried or self.board.time_s())
        except Paused:
            log("info", "download paused")
        except OSError as e:
            log("warn", "check-in: %r" % e)
            self._failed("")
            if self.link and isinstance(e.errno, int) and not record["failures"] & 3:
                self.link.leave()
        except Exception as e:  # a refusal, no memory, or a bug that the next image may fix
            e = refusal(e, "unforeseen")
            log("error", str(e))
            rSignal("device:update:failed", e)
            self._failed(e.reason)
            if e.reason == "no_memory":
                self.memory = e.detail
                record["short"] += 1
                if record["short"] > 1 and self.goes_alone():
                    await self.save()
                    await self.do("alone")
        await self.save()

    def goes_alone(self):
        """Return the setting update.alone; "" if a boot without the application is impossible or not wanted."""
        way = self.config["update.alone"]
        return "" if way == "never" or self.alone or self.board.raw else way

    def _tried(self, up_s, now_s):
        """Set the time from which schedule.due_s() measures the wait.

        It is the start of a successful check-in or the end of a failed one.
        """
        self._tried_s = up_s
        self.record["tried"] = now_s or 0
        self.record["hold"] = self.hold_s

    def _failed(self, reason):
        self.error = reason
        self.record["failures"] += 1
        if self.is_suspect():  # the old image got no reply either: an outage, which costs no attempt
            self.record["why"] = ""
            self.record["outages"] += 1
            if self.staged:
                self.staged.postpone(self.pause_s())
        self._tried(uptime_s(), self.board.time_s())
        if self.connected and not reason:
            self.connected = False
            rSignal("cloud:lost")

    async def _deliver(self):
        record = self.record
        if record["reports"]:
            if not self.registered() or self.report_s > uptime_s():
                return
            try:
                await self.online()
                await self.do("checkin", "deliver")
            except OSError as e:
                self.not_delivered(e)
        elif record["phase"] != "report":
            return
        if record["phase"] == "report":
            with Part():
                self.life.done()
            await self.save()

    def not_delivered(self, e):
        """Keep the reports in the queue and set the time of the next attempt, later with each failed check-in."""
        log("warn", "report: %r" % e)
        wait_s = schedule.backoff_s(self.record["failures"] + 1, self.device["id"])
        self.report_s = uptime_s() + max(wait_s, self.hold_s)
