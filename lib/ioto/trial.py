"""The first boot of a new image: the application says whether it is well, the cloud answers, then it is confirmed.

Watchers of `device:selftest` are the application's tests: one fails by raising, or by returning False.
"""

import asyncio

from .errors import UpdateError
from .log import log
from .semver import compare
from .watch import rSignal, rSignalSync, watchers


class Trial:
    """`state` is the otadata state: only `pending` is rolled back by the bootloader. `check_in` is one whole
    check-in, without carrying out what it offers: the other slot is the only proven one.
    """

    def __init__(self, life, pair, board, config, state, check_in):
        self.life = life
        self.pair = pair
        self.board = board
        self.config = config
        self.rolls_back = state == "pending"
        self.check_in = check_in

    async def run(self):
        """True when the image is confirmed. Else the board is reset (and this returns False where that takes a while)."""
        try:
            await asyncio.wait_for(self._tests(), self.config["trial.limit"])
            self._raise_floor()
            await asyncio.sleep_ms(0)
            self._confirm()
            return True
        except asyncio.TimeoutError:
            e = UpdateError("trial_timeout", "%d s" % self.config["trial.limit"])
        except UpdateError as refused:
            e = refused
        self._give_back(e)
        return False

    async def _tests(self):
        await self.selftests(self.config["trial.selftest"])
        wait_s = 1
        while True:
            try:
                return await self.check_in()
            except (OSError, UpdateError) as e:
                log("warn", "trial check-in: %r" % e)
            await asyncio.sleep_ms(self.board.spread_ms(wait_s * 1000))
            wait_s = min(60, wait_s * 2)

    async def selftests(self, limit_s):
        """Run every self-test, each within `limit_s` seconds; UpdateError at the first that fails or is late."""
        for proc, data in watchers("device:selftest"):
            try:
                result = proc(data, None)
                if hasattr(result, "send"):
                    result = await asyncio.wait_for(result, limit_s)
            except asyncio.TimeoutError:
                raise UpdateError("selftest_timeout", "no answer in %d s" % limit_s)
            except Exception as e:
                raise UpdateError("selftest_failed", repr(e))
            if result is False:
                raise UpdateError("selftest_failed", "a self-test said no")

    def _raise_floor(self):
        # Before the image is confirmed: a cut in between must not open the way back. An NVS that takes no more must not
        # close the way forward: the record is the second witness.
        version = self.life.version()
        floor = self.board.floor()
        try:
            if not floor or compare(version, floor) > 0:
                self.board.raise_floor(version)
        except OSError as e:
            log("error", "the version floor is kept in the record only: %r" % e)

    def _confirm(self):
        board = self.board
        if board.boot() != board.running:  # the board's call would approve the other slot
            raise UpdateError("boot_refused", "%s runs, %s boots next" % (board.running, board.boot()))
        try:
            board.confirm()
        except OSError as e:
            raise UpdateError("boot_refused", repr(e))

    async def confirmed(self):
        """The outcome, after the act: if this is cut off, the next boot finds the board confirmed and records it."""
        if self.life.record["phase"] == "trial":
            self.life.confirmed()
        await self.pair.save(self.life.record)
        rSignal("device:confirmed", self.life.version())

    def _give_back(self, e):
        log("error", "trial: %s" % e)
        life = self.life
        on_linux = self.board.raw
        if on_linux:  # nothing to go back to: the script has replaced the software
            life.fail(e.reason)
        else:
            life.record["why"] = e.reason
        try:
            self.pair.save_now(life.record)
            if not self.rolls_back and not on_linux:
                self.board.go_back()
        except OSError as error:
            log("error", "going back: %r" % error)
        rSignalSync("device:rollback", e)
        if not on_linux:
            self.board.reset()
