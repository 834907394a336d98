"""The time of day: an NTP server's (SNTP, RFC 4330), else the Date of the cloud; never one that is known to be past.

Certificates are held against the board's clock, and an ESP32 wakes up in 2000. So while the cloud is asked the clock stands at
the latest moment known to be past: when the agent was built, when the cloud was last heard, and, where its certificate is
younger than that, when the certificate begins, for which the authority stands that has signed it.
"""

import struct
from os import urandom

from . import BUILT
from .connect import resolver
from .errors import UpdateError
from .log import log
from .net import ask
from .timezone import days
from .uptime import uptime_s

_TO_1970_S = 2208988800  # NTP counts from 1900
_ERA_S = 0x100000000  # and begins again in 2036
_LAST_S = 4102444800  # 2100-01-01
_START_S = 946684800  # 2000-01-01, where an ESP32 begins
_AGAIN_S = 600  # at most, where nobody knew the time
_APART_S = 600  # NTP and the cloud, where they agree


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


async def ntp_s(names, host, limit_ms=2000, port=123):
    """Unix seconds of the server `host`; OSError when there are none to be had within the limit."""
    # Our own transmit time comes back as the originate time: random, so that only who saw it can answer.
    asked = b"\x23" + bytes(39) + urandom(8)
    address = await names.address(host)
    try:
        return await ask(address, port, asked, lambda reply: answer(reply, asked), limit_ms)
    except OSError:
        names.forget(host)
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


async def run(agent):
    """Set the clock. Where a certificate contradicts it (agent.is_clock_doubtful()), NTP may be wrong and is not asked."""
    board = agent.board
    was = board.time_s()
    past = max(BUILT, agent.record["time"])
    now = 0
    agent.clock_due_s = uptime_s() + board.spread_ms(_AGAIN_S)
    try:
        if not agent.is_clock_doubtful():
            now = await ntp_s(resolver(agent), agent.config["ntp.server"])
    except OSError:
        if was:  # it runs on
            raise
    ntp = now
    if now < past:
        try:
            if now and await _agrees(agent, now):
                agent.record["time"] = past = now
            else:
                now = await _date(agent, past)
        finally:
            board.set_time(was or _START_S)
        if now < past:
            raise OSError("nobody knows")
    board.set_time(now)
    record = agent.record
    if was and record["alone"]:  # as long ago as before the step
        record["alone"] += now - was
    agent.ntp_set = now == ntp
    agent.clock_due_s = uptime_s() + agent.config["ntp.period"]


async def _agrees(agent, ntp):
    """Does the cloud, whose certificate is verified at NTP's time, say the same? Two that agree are believed over the record."""
    if agent.api()[:5] != "https" or not agent.config["tls.verify"]:
        return False
    agent.board.set_time(ntp)
    try:
        return abs(await agent.cloud().date() - ntp) < _APART_S
    except UpdateError as e:
        log("warn", str(e))
        return False


async def _date(agent, past):
    began = past

    def seen(der, depth):
        """One certificate of the server's chain: what is verified by it has begun."""
        nonlocal began
        began = max(began, begins(der))
        return 0

    cloud = agent.cloud(seen)
    for _ in range(2):  # once more where the certificate is younger than that
        agent.board.set_time(began)
        try:
            return await cloud.date()
        except UpdateError as e:
            log("warn", str(e))
    return 0
