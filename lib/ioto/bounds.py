"""How large a file may be. Pure."""

from .errors import UpdateError

ENVELOPE_BYTES = 4096  # of a release manifest in front of an image: one block, which keeps the image's alignment


def fits(size, most):
    """UpdateError unless there are bytes at all, and not more than `most`."""
    if size <= 0:
        raise UpdateError("size_zero")
    if size > most:
        raise UpdateError("size_too_large", "%d > %d" % (size, most))
