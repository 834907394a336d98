"""A `network` module in which a script decides the result of each connect(). It refuses what an ESP32 refuses.

`script` is a list with one entry for each connect(): either a tuple (status after connecting, or None for no change;
milliseconds until then; milliseconds until the link is lost again, or None), or the text of an error that connect()
raises. `calls` is the list of calls.
"""

import time

STA_IF = 0
STAT_IDLE = 1000
STAT_CONNECTING = 1001
STAT_GOT_IP = 1010
STAT_BEACON_TIMEOUT = 200
STAT_NO_AP_FOUND = 201
STAT_WRONG_PASSWORD = 202
STAT_ASSOC_FAIL = 203
STAT_HANDSHAKE_TIMEOUT = 204

script = []
calls = []


class WLAN:
    def __init__(self, interface):
        assert interface == STA_IF
        self.on = False
        self.state = STAT_IDLE
        self.then = None  # (status, ticks when it takes effect, ticks when the link is lost)
        self.address = ("0.0.0.0",) * 4

    def _now(self):
        if self.then:
            status, comes_ms, lost_ms = self.then
            now = time.ticks_ms()
            if status is not None and time.ticks_diff(now, comes_ms) >= 0:
                self.state = status
                if status == STAT_GOT_IP:
                    self.address = ("10.0.0.2", "255.255.255.0", "10.0.0.1", "10.0.0.53")
                    if lost_ms is not None and time.ticks_diff(now, lost_ms) >= 0:
                        self.state = STAT_CONNECTING  # the driver reconnects by itself
        return self.state

    def active(self, on):
        calls.append("on" if on else "off")
        self.on = on
        if not on:
            self.state = STAT_IDLE
            self.then = None

    def connect(self, ssid, password):
        calls.append("connect")
        if not self.on:
            raise OSError("Wifi Not Started")
        if self._now() == STAT_CONNECTING:
            raise OSError("Wifi Internal Error")
        entry = script.pop(0)
        if isinstance(entry, str):
            raise OSError(entry)
        status, after_ms, for_ms = entry
        comes_ms = time.ticks_add(time.ticks_ms(), after_ms)
        self.then = (status, comes_ms, None if for_ms is None else time.ticks_add(comes_ms, for_ms))
        self.state = STAT_CONNECTING

    def disconnect(self):
        if not self.on:
            raise OSError("Wifi Not Started")
        self.state = STAT_IDLE
        self.then = None

    def isconnected(self):
        return self._now() == STAT_GOT_IP

    def status(self):
        return self._now()

    def ifconfig(self):
        return self.address  # also after a loss, when the values are old
