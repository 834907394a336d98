"""The board's Wi-Fi station: simulates network.WLAN and the state of the link."""

from typing import Any

from .clock import Clock

NAME_SERVER = "10.0.0.1"
_IDLE, _CONNECTING, _BEACON_TIMEOUT, _NO_AP_FOUND, _WRONG_PASSWORD, _GOT_IP = 1000, 1001, 200, 201, 202, 1010
_JOIN_US, _FAIL_US = 1000000, 2000000
_FOREVER = float("inf")


class WifiStation:
    """`networks` {ssid: password}, or None if the board needs no Wi-Fi; `radio`, `dead_s`: see SimulatedNetwork."""

    def __init__(
        self, networks: dict[str, str] | None, radio: dict[str, list[Exception | None]], dead_s: float | None
    ) -> None:
        self.networks, self.radio, self.dead_s = networks, radio, dead_s

    def power_on(self, clock: Clock) -> None:
        self.clock = clock
        self.active = False
        self.status = _IDLE
        self.outcome = _IDLE
        self.joined_us = _FOREVER
        self.was_up = False

    def is_up(self) -> bool:
        if self.networks is None:
            return True
        if self.active and self.status == _CONNECTING and self.clock.now_us >= self.joined_us:
            self.status = self.outcome
            self.was_up |= self.status == _GOT_IP
        return self.active and self.status == _GOT_IP

    def is_dead(self) -> bool:
        """True if no data passes although the link appears to be up."""
        return self.dead_s is not None and self.clock.now_us >= self.dead_s * 1e6

    def next_us(self) -> float:
        """When the current attempt to join a network ends; infinity without one."""
        return self.joined_us if self.status == _CONNECTING else _FOREVER

    def call(self, what: str, *args: Any) -> Any:
        """Simulate a call of network.WLAN or of one of its methods; raises the exceptions of the driver."""
        raised = self.radio.get(what)
        if raised and (e := raised.pop(0)):
            raise e
        up = self.is_up()
        if what == "WLAN":
            return None
        if what == "active":
            if args[0] is not None:
                self.active = bool(args[0])
                if not args[0]:
                    self.status = _IDLE
            return self.active
        if what == "connect":
            return self._connect(args[0], args[1])
        if what == "disconnect":
            if not self.active:
                raise OSError("Wifi Not Started")
            self.status = _IDLE
            if self.is_dead():
                self.dead_s = None
            return None
        if what == "isconnected":
            return up
        if what == "status":
            return _GOT_IP if up else self.status if self.status != _GOT_IP else _BEACON_TIMEOUT
        if what == "rssi":
            return -60
        return ("10.0.0.2", "255.255.255.0", "10.0.0.1", NAME_SERVER) if up or self.was_up else ("0.0.0.0",) * 4

    def _connect(self, name: str, password: str) -> None:
        if not self.active:
            raise OSError("Wifi Invalid Mode")
        if self.status == _CONNECTING and self.clock.now_us < self.joined_us:
            raise OSError("Wifi Internal Error")
        known = (self.networks or {name: password}).get(name)
        if known is None:
            self.outcome = _NO_AP_FOUND
        else:
            self.outcome = _GOT_IP if known == password else _WRONG_PASSWORD
        self.status = _CONNECTING
        self.joined_us = self.clock.now_us + (_JOIN_US if self.outcome == _GOT_IP else _FAIL_US)
