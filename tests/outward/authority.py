"""Certificates for a test: an authority that is trusted, and what it signed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from twisted.internet.ssl import Certificate, trustRootFromCertificates

DAY = timedelta(days=1)


class Authority:
    """Signs for names; its files are in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the tests' authority")])
        constraint = x509.BasicConstraints(ca=True, path_length=None)
        builder = self._builder(self._name, self._key, datetime.now(UTC) + DAY)
        self._own = builder.add_extension(constraint, critical=True).sign(
            self._key, hashes.SHA256()
        )

    @property
    def trust(self) -> Any:
        """Twisted's ``trustRoot`` of this authority alone."""
        own = Certificate.loadPEM(self._own.public_bytes(Encoding.PEM))
        return trustRootFromCertificates([own])

    @property
    def file(self) -> Path:
        """Its certificate, as ``SSL_CERT_FILE`` wants it."""
        path = self._directory / "authority.pem"
        path.write_bytes(self._own.public_bytes(Encoding.PEM))
        return path

    def endpoint(self, name: str, *, until: timedelta = DAY, on: str = "127.0.0.1") -> str:
        """A server endpoint on loopback whose certificate is for ``name``."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = self._builder(subject, key, datetime.now(UTC) + until)
        names = x509.SubjectAlternativeName([x509.DNSName(name)])
        signed = builder.add_extension(names, critical=False).sign(self._key, hashes.SHA256())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path = self._directory / f"{name}.pem"
        path.write_bytes(pem + signed.public_bytes(Encoding.PEM))
        return f"ssl:0:interface={on}:privateKey={path}:certKey={path}"

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, until: datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder(self._name, subject, key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(until - 3 * DAY)
            .not_valid_after(until)
        )
