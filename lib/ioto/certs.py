"""Certificates of authorities, and the TLS context that verifies with them.

The class of the C module `tls` starts with verification on; the wrapper in `ssl` switches it off in silence, so it is
not used. PEM is turned into DER here because not every port reads PEM.
"""

from binascii import a2b_base64


def certificates(lines):
    """DER bytes of each certificate in the lines of a PEM file; ValueError with the number of the line that spoils it."""
    text = None
    n = 0
    for line in lines:
        n += 1
        line = line.strip()
        if line == "-----BEGIN CERTIFICATE-----":
            if text is not None:
                break
            text = ""
        elif line == "-----END CERTIFICATE-----" and text:
            try:
                der = a2b_base64(text)
            except ValueError:
                der = b""
            # A sequence of the length it says, as every certificate is: a cut one is found here.
            if der[:2] != b"\x30\x82" or (der[2] << 8 | der[3]) + 4 != len(der):
                break
            yield der
            text = None
        elif text is not None:
            text += line
    if text is not None:
        raise ValueError("bad certificate, line %d" % n)


def context(paths, seen=None):
    """A tls.SSLContext that trusts the files at `paths` (DER, or PEM with one certificate or many) and verifies chain, dates
    and name; ValueError names the file that has none. `seen` is shown each certificate of a server's chain.
    """
    import tls  # once, at the start, and only where there is https

    made = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    made.verify_mode = tls.CERT_REQUIRED
    made.verify_callback = seen
    for path in paths:
        with open(path, "rb") as f:
            raw = f.read()
        count = 0
        try:
            for der in [raw] if raw[:2] == b"\x30\x82" else certificates(raw.decode().split("\n")):
                made.load_verify_locations(der)
                count += 1
            if not count:
                raise ValueError("no certificate in it")
        except ValueError as e:  # UnicodeError too
            raise ValueError("%s: %s" % (path, e))
    return made
