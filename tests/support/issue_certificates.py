"""Issue valid and invalid certificates for servers in tests."""

import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

HERE = ("localhost", "127.0.0.1")
DAY = 86400


def _alternative(text):
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


class Certificate:
    """Issued by `by` (None: self-signed) for `names`; valid from `first` to `last`, in seconds from `now`."""

    def __init__(self, subject, by=None, names=(), first=-DAY, last=30 * DAY, now=None, authority=False):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
        now = now or datetime.datetime.now(datetime.UTC).timestamp()
        made = x509.CertificateBuilder().subject_name(self.subject).issuer_name((by or self).subject)
        made = made.public_key(self.key.public_key()).serial_number(x509.random_serial_number())
        made = made.not_valid_before(self._at(now + first)).not_valid_after(self._at(now + last))
        made = made.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        if names:
            made = made.add_extension(
                x509.SubjectAlternativeName([_alternative(each) for each in names]), critical=False
            )
        self.made = made.sign((by or self).key, hashes.SHA256())

    @staticmethod
    def _at(unix_s):
        return datetime.datetime.fromtimestamp(int(unix_s), datetime.UTC)

    def pem(self):
        return self.made.public_bytes(Encoding.PEM).decode()

    def der(self):
        return self.made.public_bytes(Encoding.DER)

    def save(self, folder, name, chain=()):
        """Write `name`.pem, followed by the certificates of `chain`, and `name`.key."""
        (folder / (name + ".pem")).write_text("".join(each.pem() for each in (self, *chain)))
        (folder / (name + ".key")).write_bytes(
            self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        return self
