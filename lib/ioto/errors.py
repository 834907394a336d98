"""The agent's exceptions and the list of reasons.

OSError is an external failure and is retried; UpdateError is a refusal by the agent and is reported.
Pure, except that no_memory() reads the state of both heaps.
"""

import gc

# Every `reason` of a report, of `device:update:failed` and of UpdateError, grouped by the source of the error.
REASONS = (
    # reply of the cloud
    "reply_malformed",  # not JSON, or JSON of the wrong shape
    "reply_too_large",
    "http_status",  # not a success status; the detail is the number
    "http_malformed",  # not HTTP/1.x, invalid or endless headers, an invalid chunk
    "http_redirect",  # too many, or to a target that is not allowed
    "url_invalid",
    "checksum_invalid",  # not 64 hex digits
    "version_invalid",  # not SemVer
    "version_not_newer",
    "update_invalid",  # no update id
    "tls_unverified",  # no authority configured, http not allowed, or any other fault of the certificate
    "tls_untrusted",  # not signed by an authority in tls.ca
    "tls_name",  # certificate for another host name or address
    "tls_not_yet",  # chain and name are valid; the clock is behind, or was never set
    "tls_expired",  # chain and name are valid; the certificate has expired, or the clock is ahead
    "tls_version",  # the server does not support TLS 1.2
    "tls_refused",  # the server refused the handshake: TLS 1.3 only, or it requires tls.cert
    # image
    "size_zero",
    "size_too_large",  # larger than the slot
    "size_mismatch",  # longer or shorter than announced
    "image_magic",
    "image_chip",
    "image_revision",  # for a newer or older revision of the chip
    "image_merged",  # a whole-flash .bin with a bootloader in front
    "image_malformed",  # segment table or application description
    "packed_malformed",  # a packed file with values out of bounds, or whose streams do not fit its blocks
    "base_mismatch",  # a packed file made for another image than the running one
    "checksum_mismatch",  # SHA-256 of the data read back
    # release manifest
    "unsigned",  # keys are configured, but the file has no signature
    "signature_invalid",
    "manifest_malformed",
    "manifest_mismatch",  # the product, version, chip, size or base does not match
    "manifest_expired",
    "version_floor",  # below the highest version ever confirmed
    # board
    "no_slots",  # not an OTA layout
    "flash_failed",
    "record_failed",  # the record can't be written; no update is started
    "record_damaged",  # neither of its two files is valid; its content is lost
    "boot_refused",  # set_boot failed
    "unforeseen",  # anything else: a fault of the agent
    # the application leaves too little memory for TLS or for the agent itself; the detail has the numbers
    "no_memory",
    "safe_mode",  # boot.py runs the agent without the application
    "script_failed",  # scripts/update ended with a non-zero status
    # life cycle of an update
    "failed_before",
    "superseded",
    "withdrawn",  # the cloud no longer offers the staged update
    "selftest_failed",
    "selftest_timeout",
    "trial_timeout",
    "rolled_back",  # the bootloader rolled back
)


def refusal(e, reason):
    """Return the exception `e` as an UpdateError.

    An UpdateError is returned unchanged, a MemoryError becomes no_memory, and any other exception gets `reason`.
    """
    if isinstance(e, UpdateError):
        return e
    if isinstance(e, MemoryError):
        return no_memory(e)
    return UpdateError(reason, repr(e))


def no_memory(e):
    """Return an UpdateError no_memory for the exception `e`, with the state of both heaps."""
    return UpdateError(
        "no_memory", "GC heap %d bytes used, IDF heap %s free and largest block: %r" % (gc.mem_alloc(), idf_heap(), e)
    )


def idf_heap():
    """(free bytes, largest free block) of the IDF heap; None on ports without one."""
    try:
        from esp32 import HEAP_DATA, idf_heap_info
    except ImportError:
        return None
    regions = idf_heap_info(HEAP_DATA)
    return sum([region[1] for region in regions]), max([region[2] for region in regions])


class UpdateError(Exception):
    """A refusal with a `reason` from REASONS and a short text `detail`."""

    def __init__(self, reason, detail=""):
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self):
        return "%s: %s" % (self.reason, self.detail) if self.detail else self.reason


class Paused(Exception):
    """The download was paused, for example because the window closed; the fetched part is kept."""
