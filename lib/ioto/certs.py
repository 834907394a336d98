"""Load the certificates of authorities and create a TLS context that verifies servers with them.

In the C module `tls`, verification is on by default. The wrapper `ssl` silently switches it off, so it is not used. PEM
is converted to DER because not every port reads PEM.
"""

from binascii import a2b_base64


def certificates(raw):
    """Yield the DER bytes of each certificate in the content of a file, PEM or DER.

    ValueError with the number of the first invalid certificate, or if the file contains no certificate.
    """
    if raw[:2] == b"\x30\x82":
        yield raw
        return
    n = 0
    for part in raw.split(b"-----BEGIN CERTIFICATE-----")[1:]:
        n += 1
        text, end, _ = part.partition(b"-----END CERTIFICATE-----")
        try:
            found = a2b_base64(text)
        except ValueError:
            found = b""
        # A certificate is a DER sequence. The length in its header shows whether it is truncated.
        if not end or found[:2] != b"\x30\x82" or (found[2] << 8 | found[3]) + 4 != len(found):
            raise ValueError("certificate %d is invalid" % n)
        yield found
    if not n:
        raise ValueError("contains no certificate")


def context(paths, seen=None):
    """Return a tls.SSLContext that trusts the files at `paths` and verifies chain, dates and name.

    Each file is DER, or PEM with one or more certificates; ValueError names an invalid one. `seen` is called with each
    certificate of a server's chain.
    """
    import tls  # needed only for https

    made = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    made.verify_mode = tls.CERT_REQUIRED
    made.verify_callback = seen
    for path in paths:
        with open(path, "rb") as f:
            raw = f.read()
        try:
            for found in certificates(raw):
                made.load_verify_locations(found)
        except ValueError as e:
            raise ValueError("%s: %s" % (path, e))
    return made


def configured(config, seen=None):
    """Return the TLS context for the settings from config.load(); None if they do not allow https.

    It verifies the server unless `tls.verify` is false. ValueError(key, text...) with arguments for config.wrong().
    """
    verifies = config["tls.verify"]
    if verifies and not config["tls.ca"]:
        return None
    try:
        made = context(config["tls.ca"] if verifies else [], seen)
    except ValueError as e:
        raise ValueError("tls.ca", str(e))
    if not verifies:
        made.verify_mode = 0  # tls.CERT_NONE
    if config["tls.cert"]:
        try:
            made.load_cert_chain(_der(config["tls.cert"]), _der(config["tls.key"]))
        except (ValueError, OSError) as e:
            raise ValueError("tls.cert", "tls.cert", str(e))
    return made


def _der(path):
    from .pss import der

    with open(path, "rb") as f:
        return der(f.read())
