"""Who services are to one another: certificates for mutual TLS, issued by an authority of the deployment's own.

A name is a URI, `spiffe://MESH/SERVICE`, and stands in the certificate as what it is about. The authority is made for
one generation of a deployment and lives in its folder, where only its owner can read it; it is gone with the
generation, and so is everything that it signed. Certificates last for `LIFE` and are renewed in the last third of it.
"""

from __future__ import annotations

import datetime
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from m4deploy.errors import DeployError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

LIFE = datetime.timedelta(days=30)
_AUTHORITY_LIFE = datetime.timedelta(days=3650)
_SLACK = datetime.timedelta(minutes=10)  # clocks may differ so much
KEY, CERTIFICATE = "authority.key.pem", "authority.pem"


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its key, as PEM, and until when it need not be renewed."""

    certificate: str
    key: str
    fresh_until: datetime.datetime


class Authority:
    """What all services of a deployment trust. It is made at its first use, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._making = threading.Lock()

    @property
    def certificate(self) -> str:
        """As PEM."""
        self._made()
        return (self._folder / CERTIFICATE).read_text(encoding="ascii")

    def issue(self, name: str) -> Identity:
        """A new certificate for a name, with a new key. Raises DeployError."""
        self._made()
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
        from cryptography.x509.oid import ExtendedKeyUsageOID

        authority = x509.load_pem_x509_certificate((self._folder / CERTIFICATE).read_bytes())
        signing = load_pem_private_key((self._folder / KEY).read_bytes(), None)
        key = _key()
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            _begun(authority.subject, x509.Name([]), key, now, LIFE)
            .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(name)]), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
        )
        certificate = _signed(builder, signing)  # type: ignore[arg-type]
        return Identity(_pem(certificate), _private(key), now + LIFE * 2 / 3)

    def _made(self) -> None:
        with self._making:
            if not (self._folder / CERTIFICATE).exists():
                self._make()

    def _make(self) -> None:
        key = _key()
        from cryptography import x509
        from cryptography.x509.oid import NameOID

        self._folder.mkdir(mode=0o700, exist_ok=True)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "xMesh deployment")])
        builder = (
            _begun(subject, subject, key, datetime.datetime.now(datetime.UTC), _AUTHORITY_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
        )
        write_private(self._folder / KEY, _private(key))
        write_private(self._folder / CERTIFICATE, _pem(_signed(builder, key)))


def write_private(path: Path, text: str) -> None:
    """Puts a file in its place whole, and for its owner's eyes only."""
    partial = path.with_name(f"{path.name}.part")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
    partial.replace(path)


def _key() -> EllipticCurvePrivateKey:
    try:
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as error:
        hint = 'Install it with: pip install "xmesh[envoy]"'
        raise DeployError("Certificates need the Python package cryptography.", str(error), hint) from error
    return ec.generate_private_key(ec.SECP256R1())


def _begun(
    issuer: x509.Name,
    subject: x509.Name,
    key: EllipticCurvePrivateKey,
    now: datetime.datetime,
    life: datetime.timedelta,
) -> x509.CertificateBuilder:
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SLACK)
        .not_valid_after(now + life)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _signed(builder: x509.CertificateBuilder, key: EllipticCurvePrivateKey) -> x509.Certificate:
    from cryptography.hazmat.primitives import hashes

    return builder.sign(key, hashes.SHA256())


def _pem(certificate: x509.Certificate) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM).decode("ascii")


def _private(key: EllipticCurvePrivateKey) -> str:
    from cryptography.hazmat.primitives import serialization

    pem, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(pem, plain, serialization.NoEncryption()).decode("ascii")
