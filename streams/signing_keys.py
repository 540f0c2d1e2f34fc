"""Signing keys and rings of trusted keys in the state folder, or where the operator keeps them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

from schemas.errors import TidewatchError
from schemas.signing import SigningKey, new_signing_key

COMMANDS: Final = "commands"
"""The incidents app signs containment commands with it."""
RESPONDER: Final = "responder"
"""The responder signs its results with it."""
OPERATOR: Final = "operator"
"""The command line signs decisions with it."""
PRIVATE: Final = "private"
TRUSTED: Final = "trusted"
MAX_KEYS: Final = 1_000
MAX_KEY_BYTES: Final = 16 * 1024


class KeyFileError(TidewatchError):
    """A key file that can't be read or written."""


def keys_dir(state_dir: Path) -> Path:
    """Return the folder of keys below a state folder."""
    return state_dir / "keys"


def load_or_create_signing_key(folder: Path, name: str) -> SigningKey:
    """Return the private key `<folder>/private/<name>.pem`; make it on first use.

    Its public half is put beside it as `<folder>/trusted/<name>/<kid>.pem`, so that the processes
    that share this folder trust it.

    Args:
        folder: The folder of keys; only its owner may read the private ones.
        name: What the key is for; also its key id.

    Raises:
        KeyFileError: The file can't be read or written.
    """
    path = folder / PRIVATE / f"{name}.pem"
    try:
        if not path.exists():
            _write_new(path, new_signing_key(name).pem)
        key = SigningKey(kid=name, pem=path.read_bytes())
        public = folder / TRUSTED / name / f"{name}.pem"
        if not public.exists():
            _write_new(public, key.public_pem())
    except OSError as error:
        raise KeyFileError(
            f"the signing key can't be used ({error.strerror})",
            where=str(path),
            remedy="let this user read and write the folder",
        ) from error
    return key


def load_ring(folder: Path) -> dict[str, bytes]:
    """Return the public keys of a folder: key id (file name without `.pem`) to PEM.

    A folder that is not there is an empty ring: it trusts nobody.

    Raises:
        KeyFileError: A file can't be read, or there are too many.
    """
    ring: dict[str, bytes] = {}
    try:
        for path in sorted(folder.glob("*.pem")):
            if len(ring) >= MAX_KEYS:
                raise KeyFileError(f"more than {MAX_KEYS} keys", where=str(folder))
            with path.open("rb") as opened:
                ring[path.stem] = opened.read(MAX_KEY_BYTES)
    except OSError as error:
        raise KeyFileError(
            f"a trusted key can't be read ({error.strerror})", where=str(folder)
        ) from error
    return ring


def responder_ring(folder: Path, tenant: str) -> dict[str, bytes]:
    """Return the keys that may answer for a tenant: the operator's, and the tenant's own.

    They are read again for each answer, so that a key that was added or retired counts at once.

    Args:
        folder: The folder of keys.
        tenant: The tenant as part of a file name; its keys are in a folder of that name, and
            count for no other.

    Raises:
        KeyFileError: A file can't be read.
    """
    base = trusted_dir(folder, RESPONDER)
    return {**load_ring(base / tenant), **load_ring(base)}


def trusted_dir(folder: Path, name: str) -> Path:
    """Return the folder of the public keys that are trusted for one purpose."""
    return folder / TRUSTED / name


def _write_new(path: Path, raw: bytes) -> None:
    """Write a file whole and private; one that another process wrote first is kept."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as opened:
            opened.write(raw)
        try:
            os.link(name, path)
        except FileExistsError:
            return
    finally:
        os.unlink(name)  # noqa: PTH108 -- by name, as mkstemp gave it
