"""A broker behind TLS: one door for those with a certificate, one for those with a password."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from streams.broker import EmbeddedBroker
from streams.broker.ports import free_ports

USER, PASSWORD = "tidewatch", "of-nobody-else"
KEY_PASSWORD = "opens-the-key"


class Authority:
    """A certificate authority that lives as long as a test."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            self._blank(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, SHA256())
        )
        self.certificate = folder / f"{name}.pem"
        self.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))

    def _blank(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
        )

    def issue(
        self, name: str, *, address: str = "127.0.0.1", key_password: str | None = None
    ) -> tuple[Path, Path]:
        """Return the PEM files of a certificate for `address`, and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            self._blank(subject, key.public_key())
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False
            )
            .sign(self._key, SHA256())
        )
        locked: KeySerializationEncryption = NoEncryption()
        if key_password is not None:
            locked = BestAvailableEncryption(key_password.encode())
        files = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        files[0].write_bytes(certificate.public_bytes(Encoding.PEM))
        files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
        return files


class TlsKafka:
    """One broker that speaks TLS to its users: `mutual` and `with_password` are their doors."""

    def __init__(self, folder: Path, *, address_in_certificate: str = "127.0.0.1") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.authority = Authority(folder, "authority")
        self.stranger = Authority(folder, "stranger")
        certificate, key = self.authority.issue("broker", address=address_in_certificate)
        store = folder / "broker-store.pem"
        store.write_bytes(key.read_bytes() + certificate.read_bytes())
        inner, mutual, password, controller = free_ports(4)
        self.mutual = f"127.0.0.1:{mutual}"
        self.with_password = f"127.0.0.1:{password}"
        doors = (
            f"PLAINTEXT://127.0.0.1:{inner},MUTUAL://{self.mutual},PASSWORD://{self.with_password}"
        )
        self.broker = EmbeddedBroker(
            folder / "kafka",
            port=inner,
            properties={
                "listeners": f"{doors},CONTROLLER://127.0.0.1:{controller}",
                "advertised.listeners": doors,
                "controller.quorum.voters": f"1@127.0.0.1:{controller}",
                "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,"
                "MUTUAL:SSL,PASSWORD:SASL_SSL",
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": str(store),
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": str(self.authority.certificate),
                "listener.name.mutual.ssl.client.auth": "required",
                "listener.name.password.ssl.client.auth": "none",
                "sasl.enabled.mechanisms": "PLAIN",
                "listener.name.password.plain.sasl.jaas.config": "org.apache.kafka.common."
                f'security.plain.PlainLoginModule required user_{USER}="{PASSWORD}";',
            },
        )

    def certified(self) -> dict[str, str]:
        """Return the settings of a user with a certificate, whose key has a password."""
        certificate, key = self.authority.issue(USER, key_password=KEY_PASSWORD)
        return {
            "kafka": self.mutual,
            "kafka_ca": str(self.authority.certificate),
            "kafka_cert": str(certificate),
            "kafka_key": str(key),
            "kafka_key_password": KEY_PASSWORD,
        }

    def known(self) -> dict[str, str]:
        """Return the settings of a user with a password."""
        return {
            "kafka": self.with_password,
            "kafka_ca": str(self.authority.certificate),
            "kafka_sasl_mechanism": "PLAIN",
            "kafka_username": USER,
            "kafka_password": PASSWORD,
        }
