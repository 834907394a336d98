"""Validates URLs of the cloud and of webhooks, and groups client addresses. Pure."""

import ipaddress
import re
from urllib.parse import urlsplit


def is_address(text):
    """Is it an http:// or https:// URL with a host and an optional port and path, in ASCII, without user name and
    password?
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:  # such as http://[::1, or a port that is not a number
        return False
    host = parts.scheme in ("https", "http") and parts.hostname and parts.username is None
    return bool(host) and port != 0 and re.fullmatch("[!-~]+", text) is not None


def place(address):
    """The part of a client's address that identifies it: the IPv4 address, the /64 of an IPv6 address; else the
    text.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if found.version == 6:
        return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))
    return str(found)
