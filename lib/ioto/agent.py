"""The loop: link, clock, trial, check-in, download, decision, reports; then sleep until there is something to do.

Everything it needs is handed in (setup.py puts it together). One task does all the work, so no two steps ever meet; watchers
run beside it. What a step needs beyond this is a part, loaded for it and released afterwards (parts.py): so what is to
last from one step to the next is kept here, as plain data.
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

_LOOK_S = 60  # longest sleep: a clock that jumps is noticed within it
_LONG_S = 86400  # nothing to do in sight
_RENEW_EVERY = 24  # saves of the record: littlefs compacts after 58, and Pair.keep() may pass one over, see folder.py
_PAUSE_S = 10  # after a fault of ours
_BEFORE = {"begin": "recall update ", "clock": "timezone connect ", "checkin": "connect ", "fetch": "connect bounds "}  # see load()


def link_changed(connected, why):
    """Of the Wi-Fi; here, since a function keeps the module that it is defined in."""
    log("info", "Wi-Fi %s %s" % (connected, why))


class Agent:
    """`config` of config.load(); `device` the properties of device.json; `provision` what registration has brought; `board`
    (board.py, linux.py); `pair` of record.Pair; `link` with `async up()` (OSError when there is none) or None.
    """

    def __init__(self, config, device, provision, board, pair, link=None):
        from .recall import empty

        self.config = config
        self.device = device
        self.provision = provision
        self.kept = True  # is it on the file system too?
        self.board = board
        self.pair = pair
        self.link = link
        self.record = empty()
        self.trial = None  # during the first boot of an image: its otadata state
        self.staged = None  # Staged, while an image waits for the decision
        self.error = ""  # reason of the last failed check-in, told with the next
        self.alone = False  # in a boot without the application
        self.alone_s = 0  # uptime before which no such boot is asked for
        self.memory = ""  # with no_memory: its numbers
        self.connected = None
        self.addresses = {}  # of hosts, see net.Resolver
        self.clock_due_s = 0  # uptime at which the clock is to be set again
        self.ntp_set = not config["ntp.server"]  # has somebody else than the cloud set the clock?
        self.offered_s = None  # uptime of the last check-in whose answer offered what is in work
        self.hold_s = 0  # how long the cloud asked us to stay away in its last answer
        self.date_s = 0  # Unix seconds of its last answer, where TLS has verified who says so
        self.until_s = None  # uptime at which a download is to pause, see run_once()
        self.report_s = 0  # uptime before which no delivery is tried
        self._tried_s = None  # uptime at which the last check-in began
        self._begun = False
        self._guarded = False
        self._wake = asyncio.Event()
        self.wake = self._wake.set

    async def run(self):
        """For ever. From the first moment on the watchdog is fed by this loop: what blocks or ends it ends in a reset."""
        if 0 < self.config["watchdog"] < _LONG_S:
            self.guard()
        while True:
            try:
                await self.turn()
                await self._rest(min(self.next_wake_s(), _LOOK_S))
            except MemoryError:  # while another failure was handled
                gc.collect()
                await asyncio.sleep_ms(1000)

    async def run_once(self, limit_s=60):
        """For a board that sleeps: do what is due, and return the seconds (1 or more) until there is something to do.

        A download that takes longer than `limit_s` is resumed by the next call, also after a deep sleep; so long is also
        waited for whoever watches `device:update` to decide. A trial is ended here, whatever it takes.
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
        """What this boot means, before anything else is done."""
        await self.do("begin")
        self._begun = True

    async def turn(self):
        """One round of whatever is due. What goes wrong is logged, reported and tried again."""
        try:
            if not self._begun:
                await self.begin()
            if self.board.time_s() is None:
                await self._keep_time()  # windows wait for it
            if self.trial:
                if not await self.do("trial"):  # the reset is on its way
                    return
                self.trial = None
            elif self.due_s() == 0:
                await self._check()
            if self._is_decision_due():
                self.staged.signal()
                await asyncio.sleep_ms(0)  # who applies it at once resets here, not in the middle of a handshake
            await self._deliver()
        except Exception as e:  # whatever it is: a loop that ends is a board that is lost
            log("error", "%r" % e)
            await asyncio.sleep(_PAUSE_S)

    async def do(self, part, step="run"):
        """Load a part, let its `step(agent)` do its work, release what was loaded for it; returns what that returns."""
        gc.collect()
        keep = hold
        try:
            with Part():
                try:
                    await self.load(_BEFORE.get(part, "") + part)
                    return await getattr(__import__("ioto." + part, None, None, (step,)), step)(self)
                finally:
                    await asyncio.sleep_ms(0)  # what it has cancelled ends
        except MemoryError:
            keep = free  # the next try needs it more than a handshake
            raise
        finally:
            if self.config["tls.ca"]:
                keep()

    async def load(self, parts):
        """Before they are needed, one in each turn of the loop: an import holds it up."""
        for name in parts.split():
            __import__("ioto." + name)
            gc.collect()  # some KB that an import leaves
            await asyncio.sleep_ms(0)

    @property
    def life(self):
        """The steps of an update's life. Made for each use, since an object of it would keep update.py loaded."""
        from .update import Update

        return Update(self.record, self.board.running, self.board.build, self.config["version"], self.config["update.attempts"])

    def is_suspect(self):
        """Does what is staged come from a trial that nobody has judged yet?"""
        return self.record["phase"] == "staged" and self.record["why"] == "trial_timeout"

    def client(self, seen=None):
        """The transport, for one check-in or one download; see connect.client()."""
        from .connect import client

        return client(self, seen)

    def cloud(self, seen=None):
        from .cloud import Cloud

        return Cloud(self, self.client(seen))

    def api(self):
        return (self.config["api"] or self.provision.get("api") or "").rstrip("/")

    def token(self):
        return self.config["token"] or self.provision.get("token") or ""

    def registered(self):
        return self.api() and self.token()

    def next_wake_s(self):
        """Seconds until there is something to do: a check-in, a decision, a report; 0 for now."""
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
        """Before the next trial of what is staged: longer with each that ended for lack of a cloud."""
        retry_s = self.config["update.retry"]
        return max(retry_s, min(retry_s << min(self.record["outages"], 20), _LONG_S))

    def due_s(self):
        """Seconds until the next check-in; 0 when it is due."""
        if not self.config["services.update"] or self.staged and self.staged.installing:
            return _LONG_S  # the script is not to find another image in its file
        if self.alone and self._tried_s is None:
            return 0  # what this boot is for
        record = self.record
        if self._tried_s is None and self.is_suspect():
            return 0
        wait = schedule.due_s(
            self.board.time_s(), uptime_s(), self._tried_s, self.config["update.schedule"], self.config["timezone"],
            self.config["update.period"], self.config["update.jitter"] if self.registered() else 0, record["tried"], record["failures"],
            record["hold"], self.device["id"], self.board.cold,
        )  # fmt: skip
        wait = _LONG_S if wait is None else wait
        staged = self.staged
        if staged and staged.waiting and not staged.is_confirmed():  # the cloud is asked before the swap, whatever the schedule says
            pause_s = 0
            if self._tried_s is not None and (record["failures"] or record["hold"]):
                period_s = self.config["update.period"] if record["failures"] else 0
                pause_s = self._tried_s - uptime_s() + schedule.rest_s(period_s, 0, record["failures"], record["hold"], self.device["id"])
            wait = min(wait, max(staged.due_s(), pause_s))
        return wait

    async def save(self):
        """Save the record, where that is possible."""
        try:
            await self.pair.save(self.record)
        except (OSError, MemoryError) as e:
            log("error", "record: %r" % e)
            self.error = "record_failed"
        if not (self.pair.seq % _RENEW_EVERY or self.board.raw):
            await self.do("folder")

    async def online(self):
        """Link and clock; OSError while there is no link."""
        if self.link:
            await self.link.up()
        await self._keep_time()

    def is_clock_doubtful(self):
        """Did the last answer's certificate contradict the clock?"""
        return self.error in ("tls_not_yet", "tls_expired")

    async def _keep_time(self):
        if self.config["ntp.server"] and (uptime_s() >= self.clock_due_s or self.is_clock_doubtful()):
            try:
                if self.link:
                    await self.link.up()
                await self.do("clock")
            except OSError as e:
                log("warn", "no time: %r" % e)

    async def _check(self):
        """Check in, and carry out what comes of it."""
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
            record["short"] = int(self.alone)  # then the next lack of memory is enough
            self.error = self.memory = ""
            self._tried(tried_s, tried or self.board.time_s())
        except Paused:
            log("info", "the download waits")
        except OSError as e:
            log("warn", "check-in: %r" % e)
            self._failed("")
            if self.link and isinstance(e.errno, int) and not record["failures"] & 3:
                self.link.leave()
        except Exception as e:  # a refusal; no memory; or a fault of ours, which the next image fixes
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
        """update.alone, where there is a choice; "" where there is none."""
        way = self.config["update.alone"]
        return "" if way == "never" or self.alone or self.board.raw else way

    def keep_away(self):
        """The end of a boot without the application: how long it took is told with the next one."""
        if self._begun:  # else the record is not the board's
            self.record["away"] = uptime_s()
            self.pair.keep(self.record)

    def _tried(self, up_s, now_s):
        """What schedule.due_s() counts from: the beginning of what went well, the end of what did not."""
        self._tried_s = up_s
        self.record["tried"] = now_s or 0
        self.record["hold"] = self.hold_s

    def _failed(self, reason):
        self.error = reason
        self.record["failures"] += 1
        if self.is_suspect():  # nobody has answered the old image either: it was an outage, which costs nothing
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
        """Reports stay in the queue; with each failure they wait longer."""
        log("warn", "report: %r" % e)
        wait_s = schedule.backoff_s(self.record["failures"] + 1, self.device["id"])
        self.report_s = uptime_s() + max(wait_s, self.hold_s)

    def wait_for_decision(self, wait_s=0):
        """An image is staged: `device:update` asks about it. What the cloud has said before a reset holds as long as after it."""
        now, before = self.board.time_s(), self.record["offered"]
        if self.offered_s is None and now and before and before <= now:
            self.offered_s = uptime_s() - (now - before)
        from .staged import Staged

        self.staged = Staged(self, wait_s)

    def withdraw(self):
        """Nobody is asked about what was staged any more."""
        if self.staged:
            self.staged.waiting = False
            self.staged = None
