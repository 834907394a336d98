"""The loop: link, clock, trial, check-in, download, decision, reports; then sleep until there is something to do.

Everything it needs is handed in (start.py puts it together); what it decides with is in plan.py, schedule.py and
update.py. One task does all the work, so no two steps ever meet; watchers run beside it.
"""

import asyncio
import json

from . import cron, facts, plan, release, schedule
from .download import Download, Paused
from .errors import UpdateError, refusal
from .log import log
from .record import empty
from .slot import BLOCK
from .staged import Staged, reread
from .update import PHASES, Update
from .uptime import uptime_s
from .watch import rSignal, watchers

_LOOK_S = 60  # longest sleep: a clock that jumps is noticed within it
_LONG_S = 86400  # nothing to do in sight
_SETTLED_S = 10  # a start that lasted so long counts as one that went well
# Refusals that speak of the connection or the server, not of the image: they cost no attempt.
_SOFT = "http reply tls url record".split()  # their first words
_AGAIN = ["checksum_mismatch", "size_mismatch", "flash_failed", "unforeseen"]  # of the image, but another fetch may mend it


class Agent:
    """`config` of config.load(); `board` (board.py, linux.py); `cloud` and `client` of the network; `pair` and `place`
    of record.Pair; `link` with `async up()` (OSError when there is none) or None; `clock` of clock.Clock or None; `keys`
    of pss.public_key().
    """

    def __init__(self, config, board, cloud, client, pair, place, link=None, clock=None, keys=()):
        self.config = config
        self.board = board
        self.cloud = cloud
        self.client = client
        self.pair = pair
        self.place = place
        self.link = link
        self.clock = clock
        self.keys = keys
        cloud.unsigned = not keys
        self.record = record = empty()
        self.life = Update(record, board.running, board.build, config["version"], config["update.attempts"])
        self.trial = None  # during the first boot of an image: its otadata state
        self.staged = None  # Staged, while an image waits for the decision
        self.error = ""  # reason of the last failed check-in, told with the next
        self._connected = None
        self._tried_s = None  # uptime at which the last check-in began
        self._report_s = 0  # uptime before which no delivery is tried
        self._until_s = None  # uptime at which a download is to pause, see run_once()
        self._begun = False
        self._wake = asyncio.Event()
        self._buf = memoryview(bytearray(BLOCK))  # the one, allocated while there is room for it

    async def run(self):
        """For ever."""
        while True:
            await self.turn()
            await self._rest(min(self.next_wake_s(), _LOOK_S))

    async def run_once(self, limit_s=60):
        """For a board that sleeps: do what is due, and return the seconds (1 or more) until there is something to do.

        A download that takes longer than `limit_s` is taken up by the next call, also after a deep sleep; so long is also
        waited for whoever watches `device:update` to decide. A trial is ended here, whatever it takes.
        """
        self._until_s = uptime_s() + limit_s
        while True:
            await self.turn()
            wait_s = self.next_wake_s()
            left_s = self._until_s - uptime_s()
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

    async def _settle(self):
        await asyncio.sleep(_SETTLED_S)
        self.board.settled()

    async def begin(self):
        """What this boot means, before anything else is done."""
        found = self.pair.load()
        self._begun = True
        asyncio.create_task(self._settle())
        board = self.board
        if found:
            self.record.update(found)
        if self.pair.damaged or self.record["phase"] not in PHASES:  # a step of another version, which ran here before
            log("error", "record_damaged")
            self.error = "record_damaged"
            self.record.update(phase="idle", update=None)
        state = board.state()
        what = plan.boot(self.record, board.running, board.boot(), state, self.life.attempts)
        log("info", "boot is %s: %s %s, otadata %s" % (what, board.running, self.life.version(), state))
        if what == "trial":
            self.trial = state or "none"
            self._guard()
        elif what in ("again", "give_up"):
            reason = self.record["why"] or "rolled_back"
            if state == "pending" and board.boot() == board.running:  # see trial.py: we have gone back ourselves
                board.confirm()
                self._guard()
            self.life.again(reason)
            rSignal("device:rollback", UpdateError(reason))
            await self._save()
        elif what == "confirmed":
            self.life.confirmed()
            await self._save()
        if self.record["phase"] == "staged":
            await self._restage(0 if what == "staged" else self.config["update.retry"])
        rSignal("app:ready")

    def _guard(self):
        from .watchdog import guard  # here, since most starts are no first boots

        asyncio.create_task(guard(self))

    async def turn(self):
        """One round of whatever is due. What goes wrong is logged, reported and tried again."""
        try:
            if not self._begun:
                await self.begin()
            if self.board.time_s() is None:
                await self._keep_time()  # windows wait for it
            if self.trial:
                from . import trial

                if not await trial.run(self) and not self.board.raw:  # the reset is on its way
                    return
                self.trial = None
            elif self.due_s() == 0:
                await self._check()
            if self.staged and self.staged.waiting and self.staged.due_s() == 0:
                self.staged.signal()
            await self._deliver()
        except Exception as e:  # whatever it is: a loop that ends is a board that is lost
            log("error", "%r" % e)
            await asyncio.sleep(_SETTLED_S)

    def next_wake_s(self):
        """Seconds until there is something to do: a check-in, a decision, a report; 0 for now."""
        wait = self.due_s()
        if self.record["reports"] and self.cloud.registered():
            wait = min(wait, max(0, self._report_s - uptime_s()))
        if self.staged and self.staged.waiting:
            wait = min(wait, self.staged.due_s())
        return wait

    def due_s(self):
        """Seconds until the next check-in; 0 when it is due."""
        if not self.config["services.update"] or self.staged and self.staged.installing:
            return _LONG_S  # the script is not to find another image in its file
        wait = schedule.due_s(
            self.board.time_s(), uptime_s(), self._tried_s, self.config["update.schedule"], self.config["timezone"],
            self.config["update.period"], self.config["update.jitter"] if self.cloud.registered() else 0, self.record["tried"], self.record["failures"],
            self.record["hold"], self.cloud.device["id"], self.board.cold,
        )  # fmt: skip
        return _LONG_S if wait is None else wait

    async def _save(self):
        try:
            await self.pair.save(self.record)
        except (OSError, MemoryError) as e:
            log("error", "record: %r" % e)
            self.error = "record_failed"

    async def _online(self):
        """Link and clock; OSError while there is no link."""
        if self.link:
            await self.link.up()
        await self._keep_time()

    async def _keep_time(self):
        if self.clock:
            await self.clock.keep(self.cloud, self.record["time"], self.error in ("tls_not_yet", "tls_expired"))

    async def ask(self):
        """Register where needed, check in; returns the reply."""
        await self._online()
        # After days without an answer the Builder is asked as well: the api may have moved. What is kept holds if it says no.
        if not self.cloud.registered() or not self.trial and self.record["failures"] % 100 == 99:
            from .registration import register

            if not await register(self.cloud):
                raise OSError("nobody has claimed this device yet")
            rSignal("device:registered")
        reply = await self.cloud.check_in(facts.of(self))
        self.record["time"] = max(self.record["time"], min(self.board.time_s() or 0, self.cloud.date_s))
        if not self._connected:
            self._connected = True
            rSignal("cloud:connected")
        return reply

    async def _check(self):
        """Check in, and carry out what comes of it."""
        record = self.record
        tried_s = uptime_s()
        tried = self.board.time_s()
        record["hold"] = self.cloud.hold_s = 0
        try:
            reply = await self.ask()
            try:
                offer = plan.offered(reply)
            except UpdateError as e:
                if isinstance(reply, dict) and isinstance(reply.get("update"), str):
                    self.life.refuse(reply["update"][:128], e.reason)
                raise
            if offer:
                await self._carry_out(offer)
            record["failures"] = 0
            self.error = ""
            self._tried(tried_s, tried or self.board.time_s())
        except Paused:
            log("info", "the download waits")
        except OSError as e:
            log("warn", "check-in: %r" % e)
            self._failed("")
            if self.link and isinstance(e.errno, int) and not record["failures"] & 3:
                self.link.leave()
        except Exception as e:  # a refusal; no memory; or a fault of ours, which the next image mends
            e = refusal(e, "unforeseen")
            log("error", str(e))
            rSignal("device:update:failed", e)
            self._failed(e.reason)
        await self._save()

    def _tried(self, up_s, now_s):
        """What schedule.due_s() counts from: the beginning of what went well, the end of what did not."""
        self._tried_s = up_s
        self.record["tried"] = now_s or 0
        self.record["hold"] = self.cloud.hold_s

    def _failed(self, reason):
        self.error = reason
        self.record["failures"] += 1
        self._tried(uptime_s(), self.board.time_s())
        if self._connected and not reason:
            self._connected = False
            rSignal("cloud:lost")

    async def _deliver(self):
        """Send what is queued; what the cloud has answered leaves the queue."""
        record = self.record
        if record["reports"]:
            if not self.cloud.registered() or self._report_s > uptime_s():
                return
            try:
                await self._online()
                while record["reports"]:
                    await self.cloud.report(record["reports"][0])
                    record["reports"].pop(0)
            except (OSError, UpdateError) as e:
                log("warn", "report: %r" % e)
                wait_s = schedule.backoff_s(record["failures"] + 1, self.cloud.device["id"])
                self._report_s = uptime_s() + max(wait_s, self.cloud.hold_s)
        elif record["phase"] != "report":
            return
        if record["phase"] == "report":
            self.life.done()
        await self._save()

    async def _carry_out(self, offer):
        """Download and stage, or refuse; the record says so before the flash is touched."""
        life = self.life
        if self.staged and self.staged.installing:  # begun while we asked
            return
        try:
            slot = self.board.slot()
            floor = life.floor(self.board.floor())
            if plan.judge(offer, self.record, life.version(), slot.size, floor, bool(self.keys)) == "keep" and self.staged:
                return
        except UpdateError as e:  # an answer to the cloud, not a failure of the check-in
            log("warn", str(e))
            if e.reason != "failed_before":
                life.refuse(offer["update"], e.reason, offer["ours"] and e.reason != "no_slots")
                rSignal("device:update:failed", e)
            elif offer["ours"]:
                life.refuse(offer["update"], e.reason, True, e.detail)  # as it ended then
            return
        before = json.dumps(self.record)
        life.take(offer, slot.label)
        try:
            await self.pair.save(self.record)
        except OSError as e:
            self.record.update(json.loads(before))
            life.refuse(offer["update"], "record_failed")
            raise UpdateError("record_failed", repr(e))
        if self.staged:
            self.staged.waiting = False
            self.staged = None
        rSignal("device:update:available", offer)
        await self._deliver()
        download = self._download(slot)
        try:
            writer = await download.run()
        except (OSError, Paused):
            raise
        except Exception as e:
            reason = refusal(e, "unforeseen").reason
            if reason in _AGAIN:
                life.again(reason, "download")
            elif reason.split("_")[0] not in _SOFT:
                life.fail(reason, "failed" if download.n else "refused")
            raise
        life.staged(writer.head, writer.build, writer.size)
        await self._save()
        self._wait_for_decision()
        log("info", "staged %s" % offer["version"])

    def _wait_for_decision(self, wait_s=0):
        self.staged = Staged(self.life, self.pair, self.board, self.config, self._wake.set, wait_s)

    def _download(self, slot):
        config, board = self.config, self.board

        def go():
            now = board.time_s()
            if self._until_s is not None and uptime_s() >= self._until_s:
                return False
            return now is None or cron.is_open(config["update.schedule"], now, config["timezone"])

        def progress(done, size):
            if watchers("device:update:progress"):
                rSignal("device:update:progress", (done, size))

        update = self.record["update"]
        if not release.trusted(update, self.keys):
            update["skip"] = None  # begun when there were other keys
        # Another attempt at the same update does not begin where the last one was lost.
        name = "%s %s %s %d" % (slot.label, update["checksum"][:16], update["update"], self.record["attempt"])
        return Download(self.client, update, slot, board, self.place, name, self._buf, config["update.throttle"], self._examine, go, progress)

    async def _examine(self, found):
        """What stands in front of the image; keys decide whether it has to be there."""
        life, board, update = self.life, self.board, self.record["update"]
        by = None
        for by in release.verify(found, self.keys):
            await asyncio.sleep_ms(0)
        said = None
        skip = 0
        image = update["checksum"]
        if found:
            said = release.parse(found[0])
            floor = life.floor(board.floor())
            release.check(said, self.config["product"], update["version"], life.version(), board.chip, life.image(), board.time_s(), floor)
            skip = release.ENVELOPE_BYTES
            image = said["sha256"]
        update.update(skip=skip, image=image, by=by)
        await self._save()
        return said

    async def _restage(self, wait_s):
        try:
            await reread(self.record, self.board, self.keys, self._buf)
            self._wait_for_decision(wait_s)
        except Exception as e:  # the flash; or a record that another version has written
            log("error", "staged: %r" % e)
            e = refusal(e, "flash_failed")
            if e.reason == "unsigned":
                self.life.fail(e.reason, "refused")
                rSignal("device:update:failed", e)
            else:
                self.life.again(e.reason, "download")
            await self._save()
