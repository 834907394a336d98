"""DNS client (RFC 1035) for A records.

look_up() asks over UDP. query() and answer() are pure: they encode a query and decode its reply.
"""

import struct
from errno import EHOSTUNREACH
from os import urandom

ASK_MS = (1000, 2000, 4000)  # limit for one reply, in each round of attempts


def query(number, host):
    """Return the query for the addresses of `host` (ASCII, labels of 1 to 63 characters).

    `number` is the ID of the query, two random bytes.
    """
    data = number + b"\1\0\0\1\0\0\0\0\0\0"
    for label in host.rstrip(".").split("."):
        data += chr(len(label)).encode() + label.encode()
    return data + b"\0\0\1\0\1"


def answer(reply, asked):
    """Return (addresses, seconds for which they are valid) from the reply to the query `asked`.

    `addresses` is empty if the name has none. Returns None if `reply` is invalid or is not the reply to the query.
    OSError: an error code from the server. CNAMEs are skipped: a recursive server puts the addresses they lead to into
    the same reply. A reply that is marked as truncated, or has 512 bytes or more, may be incomplete. The addresses in
    it are used; if there are none, the result is None.
    """
    at = len(asked)
    found = []
    holds_s = 86400
    is_cut = len(reply) >= 512 or len(reply) > 2 and reply[2] & 2
    is_whole = False
    try:
        # Accept only a reply to a standard query with this question.
        if (
            reply[2] & 0xF8 != 0x80
            or reply[:2] + reply[4:6] != asked[:2] + b"\0\1"
            or reply[12:at].lower() != asked[12:].lower()
        ):
            return None
        if reply[3] & 15 not in (0, 3):
            raise OSError("name server: error %d" % (reply[3] & 15))
        for _ in range(reply[6] << 8 | reply[7]):
            while 0 < reply[at] < 64:
                at += 1 + reply[at]
            at += 2 if reply[at] else 1  # a pointer to the rest of the owner's name, or its end
            size = reply[at + 8] << 8 | reply[at + 9]
            if at + 10 + size > len(reply):
                raise IndexError
            if reply[at : at + 4] == b"\0\1\0\1" and size == 4:
                found.append("%d.%d.%d.%d" % tuple(reply[at + 10 : at + 14]))
                holds_s = min(holds_s, struct.unpack_from(">I", reply, at + 4)[0])
            at += 10 + size
        is_whole = not is_cut
    except IndexError:
        pass
    return (found, holds_s) if is_whole or found and is_cut else None


async def look_up(host, servers, port=53):
    """Ask the name servers at `servers` for (addresses, seconds for which they are valid) of `host`.

    OSError if there is no address or no reply.
    """
    from .net import ask

    failure = OSError(EHOSTUNREACH, "no link")
    for limit_ms in ASK_MS:
        for server in servers:
            asked = query(urandom(2), host)
            try:
                found = await ask(server, port, asked, lambda reply: answer(reply, asked), limit_ms)
            except OSError as e:
                failure = e
                continue
            if not found[0]:
                raise OSError(EHOSTUNREACH, "no address for " + host)
            return found
    raise failure
