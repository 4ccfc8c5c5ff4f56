"""A certificate of the server's own, for who has no authority: programs trust its file, people its fingerprint."""

import datetime as dt
import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from drystone.durable_files import write_durably

DAYS: Final = 3650
"""Clients hold exactly this certificate: a shorter life would only break them sooner."""
DAYS_LEFT_MIN: Final = 30
"""At a start a certificate that ends sooner is made anew."""
VALID_FROM: Final = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
"""A fixed day in the past: clocks of clients may be behind, and the server's was perhaps ahead at one start."""
_MADE_AFTER: Final = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
"""Nothing is made before this program was: a clock that is behind it must not make the certificate end sooner."""


def own_certificate(directory: Path, names: Sequence[str], *, now: float) -> tuple[Path, Path]:
    """Return the paths of a certificate for `names` and its key; makes them if there are none that will do.

    The pair before stays beside them as `cert.pem.old` and `key.pem.old`: a clock that is wrong may say that it ended.
    The key is an ECDSA key on P-256, readable by its owner alone.

    Args:
        directory: Where both are kept.
        names: Names and addresses of the server.
        now: Seconds since the epoch, UTC.
    """
    cert, key = directory / "cert.pem", directory / "key.pem"
    at = dt.datetime.fromtimestamp(now, dt.UTC)
    if not (key.exists() and _will_do(cert, names, at)):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        secret = ec.generate_private_key(ec.SECP256R1())
        made = _signed(secret, names, at)
        # The key first: a certificate without its key would be taken for a pair at the next start, and refused.
        if cert.exists() and key.exists():
            write_durably(directory / "key.pem.old", key.read_bytes())
            cert.replace(directory / "cert.pem.old")
        cert.unlink(missing_ok=True)
        write_durably(
            key,
            secret.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )
        write_durably(cert, made.public_bytes(serialization.Encoding.PEM))
    return cert, key


def fingerprint(cert: Path) -> str:
    """Return the SHA-256 of a certificate as programs show it: pairs of hex digits between colons."""
    return x509.load_pem_x509_certificate(cert.read_bytes()).fingerprint(hashes.SHA256()).hex(":").upper()


def _will_do(path: Path, names: Sequence[str], at: dt.datetime) -> bool:
    try:
        cert = x509.load_pem_x509_certificate(path.read_bytes())
        there = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    begun = cert.not_valid_before_utc <= at
    lasts = cert.not_valid_after_utc - at > dt.timedelta(days=DAYS_LEFT_MIN)
    return begun and lasts and set(map(_name, names)) <= set(there)


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _signed(secret: ec.EllipticCurvePrivateKey, names: Sequence[str], at: dt.datetime) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Drystone")])
    public = secret.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(VALID_FROM)
        .not_valid_after(max(at, _MADE_AFTER) + dt.timedelta(days=DAYS))
        .add_extension(x509.SubjectAlternativeName(list(dict.fromkeys(map(_name, names)))), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
                key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(secret, hashes.SHA256())
    )  # fmt: skip
