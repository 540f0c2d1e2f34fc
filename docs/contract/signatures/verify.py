"""Verify signed records of Tidewatch: python verify.py vectors.tsv keys/."""

import base64
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_public_key

SIGNED = ("ce_id", "ce_type", "ce_tenantid", "ce_time")


def verify(
    headers: dict[str, bytes], value: bytes, ring: dict[str, bytes], timestamp_ms: int
) -> str:
    """Return the id of the key that signed a record; raise ValueError if none of the ring did."""
    scheme, key_id, signature = headers.get("ce_signature", b"").decode("ascii").split(";")
    pem = ring.get(key_id.removeprefix("kid=")) if key_id.startswith("kid=") else None
    if scheme != "ed25519" or pem is None or not all(name in headers for name in SIGNED):
        raise ValueError("not signed by a key of the ring")
    parts = [*(headers[name] for name in SIGNED), value]
    signed = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    try:
        load_pem_public_key(pem).verify(base64.b64decode(signature, validate=True), signed)
    except InvalidSignature:
        raise ValueError("the signature does not match the record") from None
    made = datetime.fromisoformat(headers["ce_time"].decode("ascii"))
    if abs(datetime.fromtimestamp(timestamp_ms / 1000, UTC) - made) > timedelta(days=7):
        raise ValueError("outside the replay window")
    return key_id.removeprefix("kid=")


def main(vectors: Path, keys: Path) -> None:
    """Print the name of each vector, and the key that signed it or `refused`."""
    ring = {path.stem: path.read_bytes() for path in keys.glob("*.pem")}
    names, *rows = [line.split("\t") for line in vectors.read_text("utf-8").splitlines()]
    for row in rows:
        cells = dict(zip(names, row, strict=True))
        headers = {
            name: cell.encode() for name, cell in cells.items() if name.startswith("ce_") and cell
        }
        try:
            found = verify(
                headers, base64.b64decode(cells["value"]), ring, int(cells["timestamp_ms"])
            )
        except ValueError:
            found = "refused"
        print(f"{cells['name']}\t{found}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
