"""Validates URLs of the cloud and of webhooks, and groups client addresses. Pure."""

import ipaddress
import re
from urllib.parse import urlsplit


def is_http_url(text: str) -> bool:
    """Is `text` an http:// or https:// URL with a host, in ASCII, without user name and password?"""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:  # such as http://[::1, or a port that is not a number
        return False
    host = parts.scheme in ("https", "http") and parts.hostname and parts.username is None
    return bool(host) and port != 0 and re.fullmatch("[!-~]+", text) is not None


def client_network(address: str) -> str:
    """The part of an address that identifies a client: the IPv4 address, or the /64 of an IPv6 address.

    Any other text is returned as it is, up to 64 characters.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if found.version == 6:
        return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))
    return str(found)
