"""Set the clock from an NTP server (SNTP, RFC 4330), or else from the cloud's Date header.

A server's time is rejected if it is before a time that is known to be past. Certificates are verified against the
board's clock, which starts in the year 2000 on an ESP32. While the Date is requested, the clock is therefore set to the
latest time known to be past: that of the agent's build, of an earlier reply of the cloud, or of the notBefore of the
cloud's certificate. The authority that signed the certificate vouches for its notBefore.
"""

import struct
from os import urandom

from . import BUILT
from .calendar import days
from .connect import resolver
from .errors import UpdateError
from .log import log
from .net import ask
from .uptime import uptime_s

_TO_1970_S = 2208988800  # NTP counts from 1900
_ERA_S = 0x100000000  # and wraps around in 2036
_LAST_S = 4102444800  # 2100-01-01
_START_S = 946684800  # 2000-01-01, the initial time of an ESP32
_AGAIN_S = 600  # longest wait before the next attempt if no server gave the time
_APART_S = 600  # NTP and the cloud agree if they differ by less than this


def answer(reply, asked):
    """Return the Unix seconds in `reply`, or None if it is not the reply to the datagram `asked`. Pure.

    OSError: the server is not synchronised, refuses ("kiss of death"), or sends an implausible time.
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
        raise OSError("ntp: server has no valid time")
    return seconds


async def ntp_s(names, host, limit_ms=2000, port=123):
    """Ask the NTP server `host` for the Unix seconds; OSError without a valid reply within the limit."""
    # The reply repeats our transmit time as its originate time. Ours is random, so only a server that received it can
    # answer.
    asked = b"\x23" + bytes(39) + urandom(8)
    address = await names.address(host)
    try:
        return await ask(address, port, asked, lambda reply: answer(reply, asked), limit_ms)
    except OSError:
        names.forget(host)
        raise


def begins(der):
    """Unix seconds of a certificate's notBefore, 1950 to 2049 (RFC 5280, 4.1.2.5); 0 if it can't be read."""
    try:  # called by C code during a handshake: no exception may pass through that code
        der = bytes(der[:512])
        at = der.find(b"\x17\x0d", 36) + 2  # the first UTCTime, of 13 characters, after the serial number
        y, mo, d, h, mi, s = [int(der[i : i + 2]) for i in range(at, at + 12, 2)]
    except (ValueError, MemoryError):
        return 0
    return ((days(1950 + (y + 50) % 100, mo, d) * 24 + h) * 60 + mi) * 60 + s


async def run(agent):
    """Set the clock.

    If a certificate contradicts the clock (agent.is_clock_doubtful()), NTP may be wrong and is not asked.
    """
    board = agent.board
    was = board.time_s()
    past = max(BUILT, agent.record["time"])
    now = 0
    agent.clock_due_s = uptime_s() + board.spread_ms(_AGAIN_S)
    try:
        if not agent.is_clock_doubtful():
            now = await ntp_s(resolver(agent), agent.config["ntp.server"])
    except OSError:
        if was:  # the clock keeps running
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
            raise OSError("no server gave the time")
    board.set_time(now)
    record = agent.record
    if was and record["alone"]:  # the time since the last boot without the application must stay correct
        record["alone"] += now - was
    agent.ntp_set = now == ntp
    agent.clock_due_s = uptime_s() + agent.config["ntp.period"]


async def _agrees(agent, ntp):
    """Does the cloud confirm the time from NTP? Its certificate is verified with the clock set to that time.

    If both agree, they overrule the record.
    """
    if agent.api()[:5] != "https" or not agent.config["tls.verify"]:
        return False
    agent.board.set_time(ntp)
    from .cloud import Cloud

    try:
        return abs(await Cloud(agent, agent.client()).date() - ntp) < _APART_S
    except UpdateError as e:
        log("warn", str(e))
        return False


async def _date(agent, past):
    began = past

    def seen(der, depth):
        """Called for each certificate of the server's chain: the true time is not before its notBefore."""
        nonlocal began
        began = max(began, begins(der))
        return 0

    from .cloud import Cloud

    cloud = Cloud(agent, agent.client(seen))
    for _ in range(2):  # the second attempt uses the notBefore that the first one found
        agent.board.set_time(began)
        try:
            return await cloud.date()
        except UpdateError as e:
            log("warn", str(e))
    return 0
