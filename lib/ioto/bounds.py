"""What an offer is held against, and then the file itself: how large, and how new. Pure."""

from .errors import UpdateError
from .semver import compare

ENVELOPE_BYTES = 4096  # of a release manifest in front of an image: one block, which keeps the image's alignment


def fits(size, most):
    """UpdateError unless there are bytes at all, and not more than `most`."""
    if size <= 0:
        raise UpdateError("size_zero")
    if size > most:
        raise UpdateError("size_too_large", "%d > %d" % (size, most))


def not_below(version, running, floor):
    """UpdateError unless `version` is above the running one, and not below the highest ever confirmed."""
    if compare(version, running) <= 0:
        raise UpdateError("version_not_newer", "%s, running %s" % (version, running))
    if floor and compare(version, floor) < 0:
        raise UpdateError("version_floor", "%s, once confirmed %s" % (version, floor))
