"""Creates a private certificate authority and a server certificate: TLS for a site without a public name.

FOLDER/ca.pem       for the boards: `tls.ca`
FOLDER/ca.key       signs the next server certificate
FOLDER/server.pem   for the server, with its key in server.key
"""

import datetime
import ipaddress
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..http.errors import CloudError

_YEARS = 20  # lifetime of the authority: boards that outlive it can't be reached any more
_SERVER_DAYS = 825
_DAY = datetime.timedelta(days=1)


def make(folder, names, now=None) -> None:
    """Create the files for a server with these `names` (host names and IP addresses). CloudError for an invalid name.

    An existing authority is kept, so that boards that trust it still connect; the server's certificate is always new.
    """
    folder = Path(folder)
    now = now or datetime.datetime.now(datetime.UTC)
    alternatives = [_name(text) for text in names]
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "ca.key").exists():
        key = load_pem_private_key((folder / "ca.key").read_bytes(), None)
        authority = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    else:
        key, authority = _authority(folder, now)
    own = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    made = _builder(subject, authority.subject, own, now, _SERVER_DAYS)
    made = made.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    _keep(folder, "server", own, made.sign(key, hashes.SHA256()))


def _authority(folder, now):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "device cloud authority %s" % os.urandom(4).hex())])
    made = _builder(subject, subject, key, now, _YEARS * 365)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    usage = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    made = made.add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True)
    signed = made.sign(key, hashes.SHA256())
    _keep(folder, "ca", key, signed)
    return key, signed


def _builder(subject, issuer, key, now, days):
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number())
    return made.not_valid_before(now - _DAY).not_valid_after(now + days * _DAY)  # a day of tolerance for slow clocks


def _keep(folder, name, key, certificate) -> None:
    for file, raw, mode in (
        (name + ".key", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600),
        (name + ".pem", certificate.public_bytes(Encoding.PEM), 0o644),
    ):
        path = folder / (file + ".new")
        path.unlink(missing_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as f:
            f.write(raw)
        os.replace(path, folder / file)


def _name(text):
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
