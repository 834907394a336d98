"""Addresses that people give: of the cloud, of a webhook. Pure."""

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
