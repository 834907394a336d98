"""Spread the devices of a fleet over time. Pure."""

from hashlib import sha256


def spread(text, most):
    """An integer in [0, most): always the same for the same `text`, and evenly distributed over different texts.

    It is 0 if `most` is 0.
    """
    return int.from_bytes(sha256(text.encode()).digest()[:6], "big") * most >> 48
