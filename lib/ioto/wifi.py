"""The Wi-Fi link: one task owns it, everyone else asks.

    wifi = Wifi("name", "password", changed)
    await wifi.up()  # its task runs from the first time on
"""

import asyncio
import time
from errno import ETIMEDOUT

import network

LOOK_MS = 200
JOIN_MS = 15000  # joining and an address
PAUSES_MS = (1000, 2000, 5000, 10000, 20000, 60000)


class Wifi:
    """`changed(connected, why)` is called at each change; `why` holds the last failure in words, "" when there is none."""

    def __init__(self, ssid, password, changed, limit_ms=30000):
        self._ssid = ssid
        self._password = password
        self._changed = changed
        self.limit_ms = limit_ms
        self.wlan = network.WLAN(network.STA_IF)
        self.connected = self.wlan.isconnected
        self.task = None
        self.why = "not tried yet"
        self._words = {}
        for name in dir(network):
            if name.startswith("STAT_"):
                self._words[getattr(network, name)] = name[5:].lower().replace("_", " ")

    def servers(self):
        """Name servers, as net.Resolver wants them: none while there is no link (ifconfig keeps its old values)."""
        server = self.wlan.ifconfig()[3] if self.connected() else "0.0.0.0"
        return [] if server == "0.0.0.0" else [server]

    async def up(self):
        """Wait for the link; OSError ETIMEDOUT with the reason in words."""
        if not self.task or self.task.done():  # it may have had no memory
            self.task = asyncio.create_task(self._run())
        began = time.ticks_ms()
        while not self.connected():
            if time.ticks_diff(time.ticks_ms(), began) >= self.limit_ms:
                raise OSError(ETIMEDOUT, "Wi-Fi %s: %s" % (self._ssid, self.why))
            await asyncio.sleep_ms(LOOK_MS)

    def leave(self):
        """Join anew: a link can be dead and look well."""
        self._call(self.wlan.disconnect)

    async def _run(self):
        """For ever: join, watch, join again."""
        failures = 0
        while True:
            if await self._join():
                failures = 0
                self.why = ""
                self._changed(True, "")
                while self.connected():
                    await asyncio.sleep_ms(LOOK_MS)
                self.why = "lost"
                self._changed(False, "lost")
            else:
                await asyncio.sleep_ms(PAUSES_MS[min(failures, len(PAUSES_MS) - 1)])
                failures += 1
                if failures % 3 == 0:
                    self._call(self.wlan.active, False)  # a radio that was off and on again forgets old trouble

    async def _join(self):
        """One attempt; True when connected, else `why` says what was wrong."""
        wlan = self.wlan
        # The driver goes on joining by itself after a loss, and refuses connect() while it does.
        if not (self._call(wlan.active, True) and self._call(wlan.disconnect) and self._call(wlan.connect, self._ssid, self._password)):
            return False
        began = time.ticks_ms()
        while not self.connected():
            status = wlan.status()
            self.why = self._words.get(status, "status %d" % status)
            late = time.ticks_diff(time.ticks_ms(), began) >= JOIN_MS
            if late or status not in (network.STAT_CONNECTING, network.STAT_IDLE, network.STAT_GOT_IP):
                self._call(wlan.disconnect)
                return False
            await asyncio.sleep_ms(LOOK_MS)
        return True

    def _call(self, call, *args):
        try:
            call(*args)
            return True
        except OSError as e:
            self.why = str(e)
            return False
