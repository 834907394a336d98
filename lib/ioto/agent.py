"""The loop: link, clock, trial, check-in, download, decision, report; then sleep until there is something to do.

Everything it needs is handed in (start.py puts it together); what it decides with is in plan.py, schedule.py and
update.py. One task does all the work, so no two steps ever meet; watchers run beside it.
"""

import asyncio
import time

from . import __version__, cron, plan, schedule, trial
from .cloud import Forgotten
from .download import Download, Paused
from .errors import UpdateError
from .log import log
from .record import empty
from .slot import BLOCK, seal
from .staged import Staged
from .update import Update
from .watch import rSignal, watchers

_LOOK_S = 60  # longest sleep: a clock that jumps is noticed within it
_ASK_AGAIN_S = 3600  # a `device:update` that nobody answered is signalled again
# Refusals that speak of the connection or the server, not of the image: they cost no attempt.
_SOFT = (
    "http_status", "http_malformed", "http_redirect", "reply_malformed", "reply_too_large", "tls_unverified", "url_invalid",
)  # fmt: skip
_AGAIN = ("checksum_mismatch", "size_mismatch", "flash_failed")  # of the image, but another fetch may mend it


class Agent:
    """`config` of config.load(), `board` (board.py, linux.py), `link` (wifi.py) or None, `clock` an async function that
    returns Unix seconds or raises OSError, `pair` and `place` of record.Pair, `cloud` and `client` of the network.
    """

    def __init__(self, config, board, cloud, client, pair, place, link=None, clock=None):
        self.config = config
        self.board = board
        self.cloud = cloud
        self.client = client
        self.pair = pair
        self.place = place
        self.link = link
        self.clock = clock
        self.record = empty()
        self.on_trial = False
        self.staged = None  # Staged, while an image waits for the decision
        self.error = ""  # reason of the last failed check-in, told with the next
        self._ask_ms = None  # when `device:update` is signalled again
        self._wait_ms = None  # no attempt before this, after a rollback
        self._connected = None
        self._clock_ms = None
        self._wake = asyncio.Event()

    # ---- loop

    async def run(self):
        """For ever; raises only what the configuration or the record makes impossible."""
        await self.begin()
        while True:
            await self.turn()
            seconds = self.next_wake_s()
            try:
                await asyncio.wait_for(self._wake.wait(), min(seconds, _LOOK_S))
            except asyncio.TimeoutError:
                pass
            self._wake.clear()

    async def begin(self):
        """What this boot means, before anything else is done. Watchdog, record, trial."""
        board = self.board
        found = self.pair.load()
        if found:
            self.record.update(found)
        elif self.pair.damaged:
            log("error", "record damaged: both files of %s" % self.pair.paths[0])
            self.error = "record_damaged"
        state = board.state()
        self.update = Update(self.record, board.running, board.build, self.config["version"], self.config["update.attempts"])
        what = plan.boot(self.record, board.running, board.boot(), state, self.update.attempts)
        log("info", "boot: %s, running %s %s, otadata %s" % (what, board.running, self.update.version(), state))
        if what in ("again", "give_up"):
            await self._rolled_back()
        elif what == "confirmed":
            self.update.confirmed()
            await self._save()
        elif what == "staged":
            await self._restage()
        elif what == "trial":
            self.on_trial = True
            self.rolls_back = state == "pending"
            if self.config["watchdog"]:
                board.watchdog(self.config["watchdog"] * 1000)
                asyncio.create_task(self._feed())
        rSignal("app:ready")

    async def turn(self):
        """One round: whatever is due now. What the world does wrong is logged and tried again."""
        try:
            await self._online()
            if self.on_trial:
                await self._trial()
            elif self.due_s() == 0:
                await self._check()
            self._decide()
            await self._deliver()
        except OSError as e:
            log("warn", "not now: %r" % e)
            if self.on_trial:
                await self._trial_failed("trial_timeout")

    def next_wake_s(self):
        """Seconds until there is something to do: a check-in, a decision, a report; 0 for now."""
        seconds = self.due_s()
        if self.record["reports"]:
            seconds = min(seconds, schedule.backoff_s(self.record["failures"] + 1, self.cloud.device["id"]))
        if self.staged:
            seconds = min(seconds, self._decision_s())
        return seconds

    async def _feed(self):
        # A loop that hangs feeds no more; a trial without an end is ended here, whatever the tasks do.
        began = time.ticks_ms()
        limit_ms = self.config["trial.limit"] * 2000
        while not self.on_trial or time.ticks_diff(time.ticks_ms(), began) < limit_ms:
            self.board.feed()
            await asyncio.sleep(self.config["watchdog"] / 4)

    async def _save(self):
        try:
            await self.pair.save(self.record)
        except OSError as e:
            raise UpdateError("record_failed", repr(e))

    # ---- link, clock, registration

    async def _online(self):
        if self.link:
            await self.link.up()
        stale = self._clock_ms is None or time.ticks_diff(time.ticks_ms(), self._clock_ms) > self.config["ntp.period"] * 1000
        if self.clock and stale:
            try:
                self.board.set_time(await self.clock())
                self._clock_ms = time.ticks_ms()
            except OSError as e:
                log("warn", "no time: %r" % e)

    def _cloud_is(self, connected):
        if connected != self._connected:
            self._connected = connected
            rSignal("cloud:connected" if connected else "cloud:lost")

    # ---- check-in and download

    def due_s(self):
        """Seconds until the next check-in; 0 when it is due; None becomes a day when no window ever opens."""
        record = self.record
        if not self.config["services.update"] or self.on_trial:
            return 86400
        wait = schedule.due_s(
            self.board.time_s(), time.ticks_ms() // 1000, self.config["update.schedule"], self.config["timezone"],
            self.config["update.period"], self.config["update.jitter"], record["last_ok"], record["failures"],
            record["hold"], self.cloud.device["id"],
        )  # fmt: skip
        return 86400 if wait is None else wait

    async def _check(self):
        """Check in, and carry out what comes of it."""
        record = self.record
        try:
            if not self.cloud.registered() and not await self._register():
                raise OSError("registered, not claimed yet")
            offer = await self._ask()
            if offer:
                await self._carry_out(offer)
            record["last_ok"] = self.board.time_s()
            record["failures"] = 0
            record["hold"] = None
            self.error = ""
        except Forgotten as e:
            log("error", "%s: registering again" % e)
            self.cloud.forget()
            self._failed("forgotten")
        except Paused:
            log("info", "window closed, download waits")
        except UpdateError as e:
            log("error", str(e))
            rSignal("device:update:failed", e)
            self._failed(e.reason)
        except OSError as e:
            log("warn", "check-in: %r" % e)
            self._failed("")
        await self._save()

    def _failed(self, reason):
        self.error = reason
        self.record["failures"] += 1
        now = self.board.time_s()
        if self.cloud.hold_s and now:
            self.record["hold"] = now + self.cloud.hold_s
        self._cloud_is(False)

    async def _register(self):
        ok = await self.cloud.register(self.board.time_s())
        if ok:
            rSignal("device:registered")
        return ok

    def facts(self):
        """What the check-in says beside device.json."""
        record = self.record
        facts = {
            "product": self.config["product"],
            "version": self.update.version(),
            "iotoVersion": __version__,
            "accepts": ["raw"],
            "attempt": record["attempt"],
        }
        if self.board.chip is not None:
            facts["chip"] = self.board.chip
        try:
            facts["slotSize"] = self.board.slot().size
        except UpdateError as e:
            facts["error"] = e.reason
        if self.update.image():
            facts["image"] = self.update.image()
        if self.error:
            facts["error"] = self.error
        if self.on_trial:
            facts["rollback"] = self.rolls_back
        return facts

    async def _ask(self):
        reply = await self.cloud.check_in(self.facts())
        self._cloud_is(True)
        try:
            return plan.offer(reply)
        except UpdateError as e:
            if isinstance(reply, dict) and isinstance(reply.get("update"), str):
                self.update.refuse(reply["update"][:128], e.reason)
            raise

    async def _carry_out(self, offer):
        """Download and stage, or refuse; the record says which before the flash is touched."""
        try:
            slot = self.board.slot()
            if plan.judge(offer, self.record, self.update.version(), slot.size) == "keep":
                return
        except UpdateError as e:
            self.update.refuse(offer["update"], e.reason)
            raise
        self.staged = None
        self.update.take(offer, slot.label)
        await self._save()
        rSignal("device:update:available", offer)
        try:
            writer = await self._download(offer, slot)
        except UpdateError as e:
            if e.reason in _AGAIN:
                self.update.again(e.reason, "download")
                await self.place.save({"of": ""})
            elif e.reason not in _SOFT:
                self.update.fail(e.reason)
            raise
        self.update.staged(writer.head, writer.build, writer.size)
        await self._save()
        self.staged = Staged(self, self.record["update"], self.record["attempt"])
        log("info", "staged %s" % offer["version"])

    async def _download(self, offer, slot):
        config = self.config
        window, zone = config["update.schedule"], config["timezone"]
        at_work = Download(
            self.client, offer, slot, self.board, self.place, config["update.throttle"], config["network.timeout"] * 1000,
            lambda: self.board.time_s() is None or cron.is_open(window, self.board.time_s(), zone),
            lambda done, size: watchers("device:update:progress") and rSignal("device:update:progress", (done, size)),
        )  # fmt: skip
        return await at_work.run()

    # ---- decision

    def _decision_s(self):
        """Seconds until `device:update` is to be signalled: apply window, defer, an unanswered signal, a retry."""
        now_ms = time.ticks_ms()
        wait = 0
        for each in (self._ask_ms, self._wait_ms):
            if each is not None:
                wait = max(wait, -(-time.ticks_diff(each, now_ms) // 1000))
        now = self.board.time_s()
        window = self.config["update.apply"]
        if now is None:
            return wait if cron.is_always(window) else 86400
        if self.record["defer"]:
            wait = max(wait, min(self.record["defer"] - now, 366 * 86400))
        opens = cron.next_open(window, now + wait, self.config["timezone"])
        return 86400 if opens is None else opens - now

    def _decide(self):
        if self.staged and self._decision_s() <= 0:
            self._ask_ms = time.ticks_add(time.ticks_ms(), _ASK_AGAIN_S * 1000)
            if not watchers("device:update"):
                log("warn", "update %s is staged and nobody watches device:update" % self.staged.version)
            rSignal("device:update", self.staged)

    def defer(self, seconds):
        """As Staged.defer()."""
        if not self.staged:
            return
        self._ask_ms = time.ticks_add(time.ticks_ms(), seconds * 1000)
        now = self.board.time_s()
        self.update.defer(now + seconds if now else None)
        self.pair.save_now(self.record)
        rSignal("device:update:deferred", self.staged)
        self._wake.set()

    def apply(self):
        """As Staged.apply(): intent, seal, swap. Does nothing when there is no staged image or a trial is on."""
        if not self.staged or self.on_trial:
            return None
        self.staged = None
        update = self.record["update"]
        head = self.record["head"]
        self.update.swap()
        try:
            self.pair.save_now(self.record)
            slot = self.board.slot()
            if not self.board.raw:
                seal(slot, bytes(int(head[i : i + 2], 16) for i in range(0, len(head), 2)))
            doing = self.board.install(slot, update)
        except (OSError, UpdateError) as e:
            log("error", "swap refused: %s" % e)
            self._swap_failed(e.reason if isinstance(e, UpdateError) else "boot_refused")
            return None
        return asyncio.create_task(self._script(doing)) if doing else None

    def _swap_failed(self, reason):
        self.update.again(reason, "download")
        self.place.save_now({"of": ""})
        self.pair.save_now(self.record)
        rSignal("device:update:failed", UpdateError(reason))
        self._wake.set()
