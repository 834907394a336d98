"""The Wi-Fi link, owned by one task. An exception of the driver counts as a failure to join.

wifi = Wifi("name", "password", changed)
await wifi.up()  # the first call starts the task
"""

import asyncio
import time
from errno import ETIMEDOUT

import network

LOOK_MS = 200
JOIN_MS = 15000  # limit for joining and getting an address
PAUSES_MS = (1000, 2000, 5000, 10000, 20000, 60000)
# The board is reset after this many attempts in a row that end with an exception of the driver: an hour or more.
FAULTS = 66
# RuntimeError: ESP-IDF codes without an errno; "Wifi Unknown Error 0x0101" means that there is no memory.
_RAISED = (OSError, RuntimeError, MemoryError)


class Wifi:
    """The link.

    `changed(connected, why)` is called at each change; `why` is the last failure: a text, a status or an exception of
    the driver. `reset()` resets the board.
    """

    def __init__(self, ssid, password, changed, limit_ms=30000, reset=None, hostname=""):
        self._ssid = ssid
        self._password = password
        self._changed = changed
        self._reset = reset
        self._hostname = hostname
        self.limit_ms = limit_ms
        self.wlan = None  # its creation allocates 35 KB, which can fail
        self.task = None
        self.why = "not tried yet"

    def connected(self):
        try:
            return bool(self.wlan and self.wlan.isconnected())
        except _RAISED as e:
            self.why = e
            return False

    def servers(self):
        """Name servers for resolver.Resolver; none without a link, when ifconfig() still returns the old ones."""
        try:
            server = self.wlan.ifconfig()[3] if self.connected() else "0.0.0.0"
        except _RAISED:
            return []
        return [] if server == "0.0.0.0" else [server]

    async def up(self):
        """Wait for the link; OSError ETIMEDOUT with the reason as text if it is not up after `limit_ms`."""
        if not self.task or self.task.done():
            self.task = asyncio.create_task(self._run())
        began = time.ticks_ms()
        while not self.connected():
            if time.ticks_diff(time.ticks_ms(), began) >= self.limit_ms:
                raise OSError(ETIMEDOUT, "Wi-Fi %s: %s" % (self._ssid, _words(self.why)))
            await asyncio.sleep_ms(LOOK_MS)

    def leave(self):
        """Disconnect, so that the task joins again: a dead link can look connected."""
        try:
            if self.wlan:
                self.wlan.disconnect()
        except _RAISED as e:
            self.why = e

    async def _run(self):
        """Run forever: join, watch the link, join again."""
        failures = faults = 0
        while True:
            try:
                if await self._join():
                    failures = faults = 0
                    self.why = ""
                    self._changed(True, "")
                    while self.wlan.isconnected():
                        await asyncio.sleep_ms(LOOK_MS)
                    self.why = "lost"
                    self._changed(False, "lost")
                    continue
                faults = 0
            except Exception as e:  # raised by the driver or by changed(): the task continues
                self.why = e
                faults += 1
                if faults == FAULTS and self._reset:
                    self._reset()
            await asyncio.sleep_ms(PAUSES_MS[min(failures, len(PAUSES_MS) - 1)])
            failures += 1
            if self.wlan and failures % 3 == 0:
                try:
                    self.wlan.active(False)  # switching the radio off and on clears its faults
                except _RAISED:
                    pass

    async def _join(self):
        """Try once to join; True when connected, else the reason is in `why`."""
        if self._hostname:
            network.hostname(self._hostname)
        if not self.wlan:
            self.wlan = network.WLAN(network.STA_IF)
        wlan = self.wlan
        wlan.active(True)
        # After a loss the driver rejoins by itself, and refuses connect() while it does.
        wlan.disconnect()
        wlan.connect(self._ssid, self._password)
        began = time.ticks_ms()
        while not wlan.isconnected():
            status = wlan.status()
            late = time.ticks_diff(time.ticks_ms(), began) >= JOIN_MS
            if late or status not in (network.STAT_CONNECTING, network.STAT_IDLE, network.STAT_GOT_IP):
                self.why = status
                wlan.disconnect()
                return False
            await asyncio.sleep_ms(LOOK_MS)
        return True


def _words(why):
    """Return `why` as text; the driver's status codes by their names."""
    for name in dir(network):
        if name[:5] == "STAT_" and getattr(network, name) == why:
            return name[5:].lower().replace("_", " ")
    return why if isinstance(why, str) else "status %d" % why if isinstance(why, int) else repr(why)
