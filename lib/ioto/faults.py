"""Determine why a connection failed, mainly for TLS."""

from errno import ENOMEM

from .errors import UpdateError, no_memory
from .reserve import ENOUGH

# Words in Mbed TLS's messages about a certificate. The first match counts, so a date is reported only if nothing else
# is wrong.
_FAULTS = (
    ("trusted CA", "tls_untrusted"), ("(CN)", "tls_name"), ("future", "tls_not_yet"), ("expired", "tls_expired"), ("",
        "tls_unverified"),
)  # fmt: skip
# MBEDTLS_ERR_..._ALLOC_FAILED for SSL, X509, PK, ECP, MD and MPI.
_ALLOCATIONS = (-32512, -10368, -16256, -19840, -20864, -16)
# Mbed TLS's error numbers, the same on every port: CA_CHAIN_REQUIRED, BAD_PROTOCOL_VERSION, FATAL_ALERT_MESSAGE.
_NUMBERS = {-30336: "tls_unverified", -28288: "tls_version", -30592: "tls_refused"}


def refusal(e, secure, before):
    """Return the UpdateError for the exception `e` of a connection.

    `e` is a ValueError or an OSError; an OSError of the network is returned unchanged. `before` is idf_heap() before
    the handshake, or None.
    """
    if isinstance(e, ValueError):
        text = " ".join(str(e).split())  # one fault per line
        for words, reason in _FAULTS:  # the last one matches every text
            if words in text:
                # Without enough memory to verify a chain, Mbed TLS reports it as not signed by a trusted CA.
                return (
                    no_memory(e)
                    if reason == "tls_untrusted" and before and before[0] < ENOUGH
                    else UpdateError(reason, text)
                )
    if e.errno == ENOMEM or secure and e.errno in _ALLOCATIONS:
        return no_memory(e)
    if e.errno in _NUMBERS:
        return UpdateError(_NUMBERS[e.errno], str(e))
    return e
