"""MicroPython's `network` with one interface, WLAN(STA_IF), which behaves like that of an ESP32."""

import builtins
import json

import _bus
import _heap

STA_IF, AP_IF = 0, 1
STAT_IDLE, STAT_CONNECTING, STAT_GOT_IP = 1000, 1001, 1010
STAT_BEACON_TIMEOUT, STAT_NO_AP_FOUND, STAT_WRONG_PASSWORD = 200, 201, 202
STAT_ASSOC_FAIL, STAT_HANDSHAKE_TIMEOUT = 203, 204
_name = "esp32"


def hostname(name=None):
    global _name
    if name is None:
        return _name
    _name = name


def _ask(what, *args):
    status, reply = _bus.call(73, 0, 0, json.dumps([what] + list(args)).encode())
    if status < 0:
        kind, *args = json.loads(reply)
        raise getattr(builtins, kind)(*args)
    return json.loads(reply)


class WLAN:
    IF_STA, IF_AP = STA_IF, AP_IF

    def __init__(self, interface=STA_IF):
        self.interface = interface
        _heap.check()
        if held := _ask("WLAN"):
            _heap.hold("wifi", held)

    def active(self, on=None):
        return _ask("active", on)

    def connect(self, ssid=None, key=None, **options):
        _ask("connect", ssid, key)

    def disconnect(self):
        _ask("disconnect")

    def isconnected(self):
        return _ask("isconnected")

    def status(self, what=None):
        return _ask("rssi") if what == "rssi" else _ask("status")

    def ifconfig(self, config=None):
        return tuple(_ask("ifconfig"))

    def config(self, *args, **options):
        return _name if args and args[0] in ("hostname", "dhcp_hostname") else None
