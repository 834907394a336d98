"""Creates a private certificate authority and a server certificate: TLS for a site without a public name.

FOLDER/ca.pem       for the boards: `tls.ca`
FOLDER/ca.key       the authority's key, which also signs later server certificates
FOLDER/server.pem   for the server, with its key in server.key
"""

import datetime
import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..http.errors import CloudError

_YEARS = 20  # lifetime of the authority; afterwards, boards that trust only this authority can't connect
_SERVER_DAYS = 825
_DAY = datetime.timedelta(days=1)
_NO_OTHER_USAGE = dict.fromkeys(
    "digital_signature content_commitment key_encipherment data_encipherment key_agreement encipher_only "
    "decipher_only".split(),
    False,
)


def make(folder: str | Path, names: Sequence[str], now: datetime.datetime | None = None) -> None:
    """Create the files for a server with these `names`: host names and IP addresses. CloudError if one is neither.

    An existing authority is kept, so that boards that trust it still connect; the server's certificate is always new.
    """
    folder = Path(folder)
    now = now or datetime.datetime.now(datetime.UTC)
    alternatives = [_general_name(text) for text in names]
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "ca.key").exists():
        key: Any = load_pem_private_key((folder / "ca.key").read_bytes(), None)
        authority = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    else:
        key, authority = _make_authority(folder, now)
    own = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    made = _builder(subject, authority.subject, own, now, _SERVER_DAYS)
    made = made.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    _write(folder, "server", own, made.sign(key, hashes.SHA256()))


def _make_authority(folder: Path, now: datetime.datetime) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "device cloud authority %s" % os.urandom(4).hex())])
    made = _builder(subject, subject, key, now, _YEARS * 365)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    made = made.add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **_NO_OTHER_USAGE), critical=True)
    signed = made.sign(key, hashes.SHA256())
    _write(folder, "ca", key, signed)
    return key, signed


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime.datetime, days: int
) -> x509.CertificateBuilder:
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number())
    return made.not_valid_before(now - _DAY).not_valid_after(now + days * _DAY)  # a day of tolerance for slow clocks


def _write(folder: Path, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    for file, raw, mode in (
        (name + ".key", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600),
        (name + ".pem", certificate.public_bytes(Encoding.PEM), 0o644),
    ):
        path = folder / (file + ".new")
        path.unlink(missing_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as f:
            f.write(raw)
        os.replace(path, folder / file)


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        pass
    try:
        if not text or any(c in text for c in ":/ "):
            raise ValueError
        return x509.DNSName(text)
    except ValueError:
        raise CloudError(
            "%s: expected: a host name or an IP address, such as updates.example.com or 192.168.1.10" % text
        ) from None
