"""The time of day from an NTP server (SNTP, RFC 4330), without blocking and without trust in what comes."""

import struct
from os import urandom

from . import net

_TO_1970_S = 2208988800  # NTP counts from 1900
_ERA_S = 1 << 32  # and begins again in 2036
_FIRST_S = 1704067200  # 2024-01-01: no clock that is right says less
_LAST_S = 4102444800  # 2100-01-01


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
    if seconds < _FIRST_S:
        seconds += _ERA_S
    if reply[0] > 191 or stratum > 15 or not _FIRST_S <= seconds < _LAST_S:
        raise OSError("ntp: server has no time")
    return seconds


async def time_s(resolver, host, limit_ms=2000, port=123):
    """Unix seconds of the server `host`; OSError when there are none to be had within the limit."""
    # Our own transmit time comes back as the originate time: random, so that only who saw it can answer.
    asked = b"\x23" + bytes(39) + urandom(8)
    address = await resolver.address(host)
    try:
        return await net.ask(address, port, asked, lambda reply: answer(reply, asked), limit_ms)
    except OSError:
        resolver.forget(host)
        raise
