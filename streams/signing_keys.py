"""Signing keys and rings of trusted keys in the state folder, or where the operator keeps them."""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from agents.logs import Logger
from schemas.conversion import Converter
from schemas.errors import TidewatchError
from schemas.key_bindings import KeyBinding, TrustedKey
from schemas.signing import SigningKey, new_signing_key
from streams.private_files import private_folder

_BINDING: Final = Converter(KeyBinding)

log = Logger()

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
RING_SECONDS: Final = 5.0
"""How soon a key counts that was added, bound or retired while an application runs."""
_KEY_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


class KeyFileError(TidewatchError):
    """A key file that can't be read or written."""


def keys_dir(state_dir: Path) -> Path:
    """Return the folder of keys below a state folder."""
    return state_dir / "keys"


def load_or_create_signing_key(
    folder: Path, name: str, *, purpose: str | None = None
) -> SigningKey:
    """Return the private key `<folder>/private/<name>.pem`; make it on first use.

    Its public half is put beside it as `<folder>/trusted/<purpose>/<kid>.pem`, so that the
    processes that share this folder trust it. The operator's is bound to this user, for everything.

    Args:
        folder: The folder of keys; only its owner may read the private ones.
        name: The key's id.
        purpose: What the key is for; as its id by default.

    Raises:
        KeyFileError: The file can't be read or written.
    """
    path = folder / PRIVATE / f"{name}.pem"
    try:
        if not path.exists():
            _write_new(path, new_signing_key(name).pem)
        key = SigningKey(kid=name, pem=path.read_bytes())
        public = folder / TRUSTED / (purpose or name) / f"{name}.pem"
        if not public.exists():
            _write_new(public, key.public_pem())
        bound = public.with_suffix(".toml")
        if name == OPERATOR and not bound.exists():
            _write_new(bound, binding_text(_own_binding()).encode())
    except OSError as error:
        raise KeyFileError(
            f"the signing key can't be used ({error.strerror})",
            where=str(path),
            remedy="let this user read and write the folder",
        ) from error
    return key


def load_ring(folder: Path) -> dict[str, bytes]:
    """Return the public keys of a folder: key id (file name without `.pem`) to PEM.

    A missing folder is an empty ring, which trusts no key.

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


def load_trusted(folder: Path) -> dict[str, TrustedKey]:
    """Return the public keys of a folder with their bindings, by key id.

    The binding of `<kid>.pem` is `<kid>.toml`; a key without one has no rights.

    Raises:
        KeyFileError: A file can't be read, or is not a valid binding.
    """
    return {
        kid: TrustedKey(pem=pem, binding=_load_binding(folder / f"{kid}.toml"))
        for kid, pem in load_ring(folder).items()
    }


def _load_binding(path: Path) -> KeyBinding | None:
    try:
        with path.open("rb") as opened:
            return _BINDING(tomllib.loads(opened.read(MAX_KEY_BYTES).decode()))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeyFileError(
            f"the binding of a key can't be read ({error.strerror})", where=str(path)
        ) from error
    except (ValueError, msgspec.ValidationError) as error:
        raise KeyFileError(
            f"not a valid binding: {error}",
            where=str(path),
            remedy=f"fields are {', '.join(KeyBinding.__struct_fields__)}",
        ) from error


class KeyRing(Mapping[str, TrustedKey]):
    """The bound keys of a folder, read again when they may have changed."""

    def __init__(self, folder: Path) -> None:
        """Read the keys.

        Raises:
            KeyFileError: A file can't be read.
        """
        self._folder = folder
        self._keys = load_trusted(folder)
        self._due = time.monotonic() + RING_SECONDS

    def _current(self) -> dict[str, TrustedKey]:
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + RING_SECONDS
            try:
                self._keys = load_trusted(self._folder)
            except KeyFileError as error:
                # a file is half written or broken: the keys read before still count
                log.exception("keys-unreadable", where=error.where)
        return self._keys

    def __getitem__(self, kid: str) -> TrustedKey:
        """Return a key by its id."""
        return self._current()[kid]

    def __iter__(self) -> Iterator[str]:
        """Yield the key ids."""
        return iter(self._current())

    def __len__(self) -> int:
        """Return how many keys are trusted."""
        return len(self._current())


class Signer(msgspec.Struct, frozen=True, kw_only=True):
    """The key a person signs with, and what it may sign."""

    key: SigningKey
    binding: KeyBinding


def load_signer(state_dir: Path, name: str) -> Signer:
    """Return the key that the command line signs with; the operator's is made on first use.

    Args:
        state_dir: The state folder.
        name: The key's name: `keys/private/<name>.pem`.

    Raises:
        KeyFileError: There is no such key, it has no binding, or a file can't be read.
    """
    folder = keys_dir(state_dir)
    check_key_name(name)
    path = folder / PRIVATE / f"{name}.pem"
    if name != OPERATOR and not path.exists():
        raise KeyFileError(
            f"no signing key {name}",
            where=str(path),
            remedy=f"make it with: tidewatch keys create {name}",
        )
    key = load_or_create_signing_key(folder, name, purpose=OPERATOR)
    bound = trusted_dir(folder, OPERATOR) / f"{name}.toml"
    binding = _load_binding(bound)
    if binding is None:
        raise KeyFileError(
            f"the key {name} has no binding",
            where=str(bound),
            remedy=f"describe it with: tidewatch keys bind {name}",
        )
    return Signer(key=key, binding=binding)


def check_key_name(name: str) -> None:
    """Refuse a key name that would be another file's.

    Raises:
        KeyFileError: It has characters that a key id may not have.
    """
    if not _KEY_NAME.fullmatch(name):
        raise KeyFileError(
            f"{name!r} is not a valid key name",
            where="the key's name",
            remedy="use at most 64 ASCII letters, digits and . _ @ -, a letter or digit first",
        )


def write_binding(folder: Path, kid: str, binding: KeyBinding) -> Path:
    """Write what an operator's or analyst's key may do; return the file.

    Args:
        folder: The folder of keys.
        kid: The key's id.
        binding: What it may do.

    Raises:
        KeyFileError: The file can't be written.
    """
    path = trusted_dir(folder, OPERATOR) / f"{kid}.toml"
    try:
        _write_new(path, binding_text(binding).encode(), replace=True)
    except OSError as error:
        raise KeyFileError(
            f"the binding can't be written ({error.strerror})", where=str(path)
        ) from error
    return path


def binding_text(binding: KeyBinding) -> str:
    """Return a binding as the TOML that is read back."""
    values = msgspec.to_builtins(binding)
    return "".join(
        # a JSON string or list of strings is one in TOML
        f"{name} = {values[name] if name == 'until' else json.dumps(values[name])}\n"
        for name in KeyBinding.__struct_fields__
        if values[name] is not None
    )


def _own_binding() -> KeyBinding:
    """Return the binding of the key that an installation makes for itself: it may do everything."""
    return KeyBinding(
        actor=f"{getpass.getuser()}@{socket.gethostname()}",
        tenants="*",
        decisions="*",
        publishes=("policy", "intel"),
        vouches=True,
    )


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


def _write_new(path: Path, raw: bytes, *, replace: bool = False) -> None:
    """Write a file whole and private; one that is there is kept, unless it is to be replaced."""
    private_folder(path.parent)
    handle, name = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as opened:
            opened.write(raw)
        if replace:
            os.replace(name, path)  # noqa: PTH105 -- by name, as mkstemp gave it
            return
        with suppress(FileExistsError):
            os.link(name, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)  # noqa: PTH108 -- by name, as mkstemp gave it
