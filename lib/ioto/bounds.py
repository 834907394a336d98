"""Limits for the size of a file. Pure."""

from .errors import UpdateError

ENVELOPE_BYTES = 4096  # the release manifest's envelope in front of an image; one block, so the image stays aligned


def check_size(size, most):
    """UpdateError unless `size` is from 1 to `most` bytes."""
    if size <= 0:
        raise UpdateError("size_zero")
    if size > most:
        raise UpdateError("size_too_large", "%d > %d" % (size, most))
