"""What goes wrong on purpose: a request refused, an operator's mistake.

Two texts of the protocol make a device forget itself and register again. They are made here and nowhere else.
"""


class CloudError(Exception):
    """An operator's mistake or a site that cannot be used; the text says what to do next."""

    status = 400  # over HTTP


class Missing(CloudError):
    """What the operator named is not there."""

    status = 404


class Conflict(CloudError):
    """It would do by itself, but not with what is there already."""

    status = 409


class Unavailable(Exception):
    """The database or the store of images does not answer now, or its disk is full; the same may succeed in a minute."""


class Refusal(Exception):
    """A request that is answered with `status` and `error`; as bare text if `bare`, else as {"error": ...}.

    `retry_s`: stay away for so many seconds.
    """

    def __init__(self, status, error, bare=False, retry_s=None):
        super().__init__(error)
        self.status = status
        self.error = error
        self.bare = bare
        self.retry_s = retry_s


def authentication_failed():
    """The token is not, or no longer, this device's. Ioto's C agent compares the whole body with this text."""
    return Refusal(401, "Authentication failed", bare=True)


def cannot_find_device():
    """The token was right, and the operator has removed the device."""
    return Refusal(404, "Cannot find device", bare=True)
