"""What a connection that fails is about, over TLS above all."""

from errno import ENOMEM

from .errors import UpdateError
from .reserve import ENOUGH, no_memory

# Mbed TLS's words about a certificate: of several faults the first here, so a date is named only where nothing else is wrong.
_FAULTS = (
    ("trusted CA", "tls_untrusted"), ("(CN)", "tls_name"), ("future", "tls_not_yet"), ("expired", "tls_expired"), ("", "tls_unverified"),
)  # fmt: skip
# MBEDTLS_ERR_..._ALLOC_FAILED of SSL, X509, PK, ECP, MD and MPI.
_ALLOCATIONS = (-32512, -10368, -16256, -19840, -20864, -16)
# Its numbers, the same on every port: CA_CHAIN_REQUIRED, BAD_PROTOCOL_VERSION, FATAL_ALERT_MESSAGE.
_NUMBERS = {-30336: "tls_unverified", -28288: "tls_version", -30592: "tls_refused"}


def refusal(e, secure, before):
    """UpdateError for the ValueError or OSError `e` of a connection, for which `before` was free of the IDF heap; an OSError of the
    network itself as it is.
    """
    if isinstance(e, ValueError):
        text = " ".join(str(e).split())  # a fault a line
        for words, reason in _FAULTS:  # the last is in every text
            if words in text:
                # Without the memory to verify a chain Mbed TLS says that nobody has signed it.
                return no_memory(e) if reason == "tls_untrusted" and before and before[0] < ENOUGH else UpdateError(reason, text)
    if e.errno == ENOMEM or secure and e.errno in _ALLOCATIONS:
        return no_memory(e)
    if e.errno in _NUMBERS:
        return UpdateError(_NUMBERS[e.errno], str(e))
    return e
