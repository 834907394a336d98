"""The time of day: an NTP server's (SNTP, RFC 4330), else the Date of the cloud; never one that is known to be past.

Certificates are held against the board's clock, and an ESP32 wakes up in 2000. So while the cloud is asked the clock stands at
the latest moment known to be past: when the agent was built, when the cloud was last heard, and, where its certificate is
younger than that, when the certificate begins, for which the authority stands that has signed it.
"""

import struct
from os import urandom

from . import BUILT, net
from .errors import UpdateError
from .log import log
from .timezone import days
from .uptime import uptime_s

_TO_1970_S = 2208988800  # NTP counts from 1900
_ERA_S = 0x100000000  # and begins again in 2036
_LAST_S = 4102444800  # 2100-01-01
_START_S = 946684800  # 2000-01-01, where an ESP32 begins
_AGAIN_S = 600  # at most, where nobody knew the time


def answer(reply, asked):
    """Unix seconds out of a reply to the datagram `asked`, or None when it is not the reply. Pure.

    OSError: the server says that it does not know (not synchronised, "kiss of death"), or says nonsense.
    """
    if len(reply) < 48 or reply[24:32] != asked[40:48] or reply[0] & 7 != 4:
        return None
    stratum = reply[1]
    if stratum == 0:
        raise OSError("ntp: refused, " + "".join([chr(c) for c in reply[12:16] if 64 < c < 91]))
    seconds = struct.unpack_from(">I", reply, 40)[0] - _TO_1970_S
    if seconds < BUILT:
        seconds += _ERA_S
    if reply[0] > 191 or stratum > 15 or not BUILT <= seconds < _LAST_S:
        raise OSError("ntp: server has no time")
    return seconds


async def ntp_s(resolver, host, limit_ms=2000, port=123):
    """Unix seconds of the server `host`; OSError when there are none to be had within the limit."""
    # Our own transmit time comes back as the originate time: random, so that only who saw it can answer.
    asked = b"\x23" + bytes(39) + urandom(8)
    address = await resolver.address(host)
    try:
        return await net.ask(address, port, asked, lambda reply: answer(reply, asked), limit_ms)
    except OSError:
        resolver.forget(host)
        raise


def begins(der):
    """Unix seconds of a certificate's notBefore, 1950 to 2049 (RFC 5280, 4.1.2.5); 0 where there is none."""
    try:  # called by C code in a handshake, which nothing may be raised through
        der = bytes(der[:512])
        at = der.find(b"\x17\x0d", 36) + 2  # the first UTCTime, of 13 characters, behind the serial number
        y, mo, d, h, mi, s = [int(der[i : i + 2]) for i in range(at, at + 12, 2)]
    except (ValueError, MemoryError):
        return 0
    return ((days(1950 + (y + 50) % 100, mo, d) * 24 + h) * 60 + mi) * 60 + s


class Clock:
    """`config` of config.load(); `link` as the agent's. `seen` is the verify_callback of the TLS context."""

    def __init__(self, config, board, link, resolver):
        self.config = config
        self.board = board
        self.link = link
        self._resolver = resolver
        self.due_s = 0  # uptime
        self._began = 0

    def seen(self, der, depth):
        """One certificate of a server's chain: what is verified by it has begun."""
        self._began = max(self._began, begins(der))
        return 0

    async def keep(self, cloud, last_s, doubt):
        """Set the clock if it is due. `last_s`: when `cloud` was last heard. `doubt`: its certificate contradicts the clock, so
        NTP may be wrong and is not asked.
        """
        if uptime_s() < self.due_s and not doubt:
            return
        board = self.board
        was = board.time_s()
        past = max(BUILT, last_s)
        now = 0
        try:
            if self.link:
                await self.link.up()
            self.due_s = uptime_s() + board.spread_ms(_AGAIN_S)
            try:
                if not doubt:
                    now = await ntp_s(self._resolver, self.config["ntp.server"])
            except OSError:
                if was:  # it runs on
                    raise
            if now < past:
                try:
                    now = await self._date(cloud, past)
                finally:
                    board.set_time(was or _START_S)
                if now < past:
                    raise OSError("nobody knows")
            board.set_time(now)
            self.due_s = uptime_s() + self.config["ntp.period"]
        except OSError as e:
            log("warn", "no time: %r" % e)

    async def _date(self, cloud, past):
        self._began = past
        for _ in range(2):  # once more where the certificate is younger than that
            self.board.set_time(self._began)
            try:
                return await cloud.date()
            except UpdateError as e:
                log("warn", str(e))
        return 0
