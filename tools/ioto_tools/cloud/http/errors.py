"""Expected errors: refused requests, operators' mistakes, an unavailable database or store.

Two texts of the protocol make a device delete its registration and register again. Only this module contains them.
"""


class CloudError(Exception):
    """An operator's mistake, or a site that cannot be used. The text says what to do next."""

    status = 400  # over HTTP


class Missing(CloudError):
    """The object that the operator named does not exist."""

    status = 404


class Conflict(CloudError):
    """The request is valid, but conflicts with the current state."""

    status = 409


class Unavailable(Exception):
    """The database or the image store does not answer, or its disk is full. A retry may succeed in a minute."""


class Refusal(Exception):
    """An error response with `status` and the text `error`: as plain text if `bare`, else as {"error": ...}.

    `retry_s`: seconds until the client may try again.
    """

    def __init__(self, status: int, error: str, bare: bool = False, retry_s: int | None = None) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.bare = bare
        self.retry_s = retry_s


def authentication_failed() -> Refusal:
    """The error for a token that does not belong, or no longer belongs, to this device.

    Ioto's C agent compares the whole body with this text.
    """
    return Refusal(401, "Authentication failed", bare=True)


def cannot_find_device() -> Refusal:
    """The error for a correct token whose device an operator has removed."""
    return Refusal(404, "Cannot find device", bare=True)
