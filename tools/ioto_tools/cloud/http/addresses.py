"""Addresses that people give, of the cloud, of a webhook; and addresses of clients. Pure."""

import ipaddress
import re
from urllib.parse import urlsplit


def is_address(text):
    """Is it http:// or https:// with a host, perhaps a port and a path: in ASCII, and without a user's name or password?"""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:  # such as http://[::1, or a port that is no number
        return False
    host = parts.scheme in ("https", "http") and parts.hostname and parts.username is None
    return bool(host) and port != 0 and re.fullmatch("[!-~]+", text) is not None


def place(address):
    """Where a client is, as far as one can be told from another: its IPv4 address, the /64 of an IPv6 address; else the text."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if found.version == 6:
        return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))
    return str(found)
