"""Board for a Linux host: the slot is a file, and `scripts/update PATH` installs it.

The script prints one word: `continue` (installed, the agent continues), or `restart` or `exit` (the agent exits with
status 85 or 0; its supervisor starts it again, and the first check-in confirms the update). A non-zero status of the
script is a failure.
"""

import asyncio
import os
import struct
import sys
import time

from .errors import UpdateError, refusal
from .watch import rSignal

RESTART_STATUS = 85
_CLOCK_SET_S = 1704067200  # 2024-01-01: an earlier time means that the clock was never set


class Slot:
    """A file in blocks of 4096 bytes.

    Erasing block 0 truncates the file, so nothing remains after the end of a shorter image.
    """

    label = "file"

    def __init__(self, path, size):
        self.path = path
        self.size = size

    def erase(self, n):
        if n == 0:
            open(self.path, "wb").close()

    def write(self, n, buf, offset=0):
        with open(self.path, "r+b") as f:
            f.seek(n * 4096 + offset)
            f.write(buf)

    def read(self, n, buf, offset=0):
        with open(self.path, "rb") as f:
            f.seek(n * 4096 + offset)
            if f.readinto(buf) != len(buf):
                raise OSError("%s is shorter than it was" % self.path)


class Board:
    """The host.

    `path`: the slot's file; `size`: its limit in bytes; `script`: path of scripts/update; `limit_s`: its time limit.
    """

    raw = True
    chip = None
    running = "file"
    build = ""
    cold = True
    here = None  # no delta has the running file as its base

    def __init__(self, path, size, script, limit_s):
        self._slot = Slot(path, size)
        self.script = script
        self.limit_s = limit_s
        self._status = 0

    def revision(self):
        return None

    def boot(self):
        return self.running

    def slot(self):
        return self._slot

    def state(self):
        return None

    def is_aborted(self):
        return True

    def confirm(self):
        pass

    def settled(self):
        pass

    def floor(self):
        return ""  # only the record stores the floor

    def raise_floor(self, version):
        pass

    def kept(self, key):
        """The bytes stored by keep() in a file beside the slot, b"" if none."""
        try:
            with open(self._slot.path + "." + key, "rb") as f:
                return f.read()
        except OSError:
            return b""

    def keep(self, key, raw):
        with open(self._slot.path + "." + key, "wb") as f:
            f.write(raw)

    def watchdog(self, timeout_ms):
        pass

    def feed(self):
        pass

    def reset(self):
        sys.exit(self._status)

    def time_s(self):
        now = int(time.time())
        return now if now >= _CLOCK_SET_S else None

    def set_time(self, unix_s):
        """The host keeps its own clock."""

    def spread_ms(self, most_ms):
        """A random time between half of `most_ms` and `most_ms`."""
        return most_ms // 2 + struct.unpack("<H", os.urandom(2))[0] * most_ms // 131072

    def has_script(self):
        try:
            os.stat(self.script)
            return True
        except OSError:
            return False

    def install(self, slot, staged):
        """Start and return the task that runs the script and handles its result for `staged` (staged.Staged)."""
        return asyncio.create_task(self._install(slot.path, staged))

    async def _install(self, path, staged):
        try:
            goes_on = await self._run(path)
        except (UpdateError, OSError) as e:
            staged.installing = None
            from .swap import apply_failed

            return apply_failed(staged, refusal(e, "script_failed"))
        agent = staged.agent
        agent.record["update"].pop("script", None)
        if goes_on:
            agent.life.confirmed()
        agent.store.keep(agent.record)
        if not goes_on:
            self.reset()
        staged.installing = None
        rSignal("device:confirmed", staged.version)
        agent.wake()

    async def _run(self, path):
        """Run the script; return True if the agent continues, False if it exits.

        UpdateError script_failed if the script fails or takes longer than `limit_s`.
        """
        # The script runs in the background, so it does not block the loop. Its output and then its status are written
        # to two files.
        out, status, pid = path + ".out", path + ".status", path + ".pid"
        for each in (out, status):
            try:
                os.remove(each)
            except OSError:
                pass
        # The shell would search PATH for a bare name.
        script = self.script if "/" in self.script else "./" + self.script
        words = (script, path, out, pid, status + ".new", status + ".new", status)
        os.system(
            "(%s %s > %s & echo $! > %s; wait $!; echo $? > %s; mv %s %s) &" % tuple(_quote(each) for each in words)
        )
        for _ in range(self.limit_s * 10):
            await asyncio.sleep_ms(100)
            try:
                with open(status) as f:
                    ended = int(f.read())
                break
            except (OSError, ValueError):  # not yet written; or the disk is full, and the file stays empty
                pass
        else:
            os.system("kill -9 $(cat %s)" % _quote(pid))  # otherwise it could still run during the next attempt
            raise UpdateError("script_failed", "%s took more than %d s" % (self.script, self.limit_s))
        with open(out, "rb") as f:
            words = f.read(4096).split()
        if ended:
            raise UpdateError("script_failed", "%s exited with status %d" % (self.script, ended))
        self._status = RESTART_STATUS if b"restart" in words else 0
        return b"restart" not in words and b"exit" not in words


def _quote(path):
    return "'" + path.replace("'", "'\\''") + "'"
