"""Keys, certificates and signed models the signature tests are made of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


def make_model(folder: Path) -> Path:
    """Write a small model folder."""
    (folder / "sub").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    (folder / "config.json").write_text('{"architectures": ["BertModel"]}')
    (folder / "sub" / "vocab.txt").write_text("a\nb\n")
    return folder


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key as PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def public_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """Return its public key as PEM."""
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a new key."""
    return ec.generate_private_key(ec.SECP256R1())


def sign_with_key(model: Path, key: ec.EllipticCurvePrivateKey, scratch: Path, **hashing) -> Path:
    """Sign a model folder with a key; the signature lies in the model as `model.sig`."""
    import model_signing  # noqa: PLC0415 -- slow import, which every process would pay

    pem = scratch / "key.pem"
    pem.write_bytes(private_pem(key))
    config = model_signing.signing.Config().use_elliptic_key_signer(private_key=pem)
    if hashing:
        config.set_hashing_config(model_signing.hashing.Config().use_shard_serialization(**hashing))
    target = scratch / "model.sig"
    config.sign(model, target)
    return target.rename(model / "model.sig")


def certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: x509.Name | None, issuer_key, *, ca: bool
) -> x509.Certificate:
    """Return a certificate."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer or subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True, content_commitment=False, key_encipherment=False,
                data_encipherment=False, key_agreement=False, key_cert_sign=ca, crl_sign=ca,
                encipher_only=False, decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
        .sign(issuer_key, hashes.SHA256())
    )  # fmt: skip


def pem_of(one: x509.Certificate) -> str:
    """Return a certificate as PEM."""
    return one.public_bytes(serialization.Encoding.PEM).decode()


def sign_with_certificate(model: Path, scratch: Path) -> str:
    """Sign a model with a certificate of a new authority; return the authority's PEM."""
    import model_signing  # noqa: PLC0415 -- slow import, which every process would pay

    root_key, key = new_key(), new_key()
    root = certificate("root", root_key, None, root_key, ca=True)
    leaf = certificate("signer", key, root.subject, root_key, ca=False)
    (scratch / "key.pem").write_bytes(private_pem(key))
    (scratch / "leaf.pem").write_text(pem_of(leaf))
    (scratch / "root.pem").write_text(pem_of(root))
    target = scratch / "model.sig"
    model_signing.signing.Config().use_certificate_signer(
        private_key=scratch / "key.pem",
        signing_certificate=scratch / "leaf.pem",
        certificate_chain=[scratch / "root.pem"],
    ).sign(model, target)
    target.rename(model / "model.sig")
    return pem_of(root)
