"""The name server and the time server of the simulated network: the reply to a datagram. Pure."""

import struct

DNS_PORT, NTP_PORT = 53, 123
_NTP_EPOCH_S = 2208988800  # seconds from 1900 to 1970


def dns_reply(query: bytes, names: dict[str, str]) -> bytes:
    """The address in `names` {host name: address}, or "no such name"."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += query[at] + 1
    found = names.get(".".join(labels))
    question = query[12 : at + 5]
    if found is None:
        return query[:2] + b"\x81\x83\0\1\0\0\0\0\0\0" + question
    answer = b"\xc0\x0c\0\1\0\1\0\0\x01\x2c\0\4" + bytes(int(p) for p in found.split("."))
    return query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + question + answer


def ntp_reply(query: bytes, unix_s: int) -> bytes:
    seconds = unix_s + _NTP_EPOCH_S
    return b"\x24\x01\x00\xec" + bytes(20) + query[40:48] + struct.pack(">II", seconds & 0xFFFFFFFF, 0) * 2
