"""PEM files: one certificate, several, text around them, truncated at every line."""

from binascii import b2a_base64

from ioto import certs


def der(size, seed):
    """Bytes in the outer form of a certificate: a sequence with its length."""
    return b"\x30\x82" + bytes([size >> 8, size & 255]) + bytes([(i * seed) & 255 for i in range(size)])


def pem(data, end="\n"):
    lines = ["-----BEGIN CERTIFICATE-----"]
    for i in range(0, len(data), 48):
        lines.append(b2a_base64(data[i : i + 48]).decode().strip())
    return end.join(lines + ["-----END CERTIFICATE-----", ""])


ONE, TWO = der(700, 3), der(1201, 7)


def read(text):
    try:
        return list(certs.certificates(text.encode()))
    except ValueError as e:
        return [] if str(e) == "contains no certificate" else None


def test_certificates_in_pem_and_der():
    assert read(pem(ONE)) == [ONE]
    assert read(pem(ONE, "\r\n")) == [ONE]
    assert read("# roots\n\n" + pem(ONE) + "between\n" + pem(TWO) + "after") == [ONE, TWO]
    assert (
        read("")
        == []
        == read("nothing here\n")
        == read("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    )
    for size in (256, 257, 258, 259, 4000):
        assert read(pem(der(size, 5))) == [der(size, 5)], size
        assert list(certs.certificates(der(size, 5))) == [der(size, 5)], size


def test_pem_without_one_line_is_refused():
    lines = (pem(ONE) + pem(TWO)).split("\n")
    first = len(pem(ONE).split("\n")) - 2  # where the first certificate ends
    for i in range(len(lines) - 1):
        found = read("\n".join(lines[:i] + lines[i + 1 :]))
        if i in (0, first + 1):
            assert found == ([TWO] if i == 0 else [ONE]), i  # a certificate without its first line is text
        else:
            assert found is None, i


def test_truncated_pem_is_refused():
    lines = pem(ONE).split("\n")
    for i in range(1, len(lines) - 1):
        assert read("\n".join(lines[:i])) is None, i


def test_damaged_base64_is_refused():
    good = pem(ONE)
    for old, new in (("\nMIIC", "\n!!!!"), ("\nMIIC", "\nMIIC\n\nA"), ("\nMIIC", "\nAIIC")):
        assert old in good
        assert read(good.replace(old, new)) is None, new
