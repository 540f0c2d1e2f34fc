"""Certificates of an authority of the test's own."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Pair(NamedTuple):
    """A certificate with its key, as PEM files."""

    certificate: Path
    key: Path


class Authority:
    """Issues certificates that it signs."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._issued: dict[str, Pair] = {}
        self._subject = _name(name)
        made = self._build(self._subject, self._key, authority=True)
        self.certificate = folder / f"{name}.pem"
        self.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str) -> Pair:
        """Return the certificate of a name, the same each time."""
        if name not in self._issued:
            key = ec.generate_private_key(ec.SECP256R1())
            pair = Pair(
                self._folder / f"{self._name}-{name}.pem", self._folder / f"{self._name}-{name}.key"
            )
            made = self._build(_name(name), key, authority=False)
            pair.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
            pair.key.write_bytes(
                key.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                )
            )
            self._issued[name] = pair
        return self._issued[name]

    def _build(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, authority: bool
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        common = subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        building = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=True,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    key_cert_sign=authority,
                    crl_sign=authority,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), False
            )
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(str(common))]), False)
        )
        return building.sign(self._key, hashes.SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
