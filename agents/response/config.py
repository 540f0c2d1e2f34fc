"""The configuration of a responder: its tenants, and their folders, files and hooks."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec

from schemas.components import InvalidComponentError, split_key
from schemas.conversion import Converter
from schemas.errors import TidewatchError

NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
HOOK_ACTIONS: Final = frozenset(
    {
        "revoke",
        "hold-pipeline",
        "release-pipeline",
        "rebuild",
        "block",
        "unblock",
        "rollback",
        "roll-forward",
        "quarantine",
        "restore",
    }
)


class ResponderConfigError(TidewatchError):
    """A configuration that is invalid or contradicts itself."""


class StoreConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model store on a file system."""

    root: Path
    """Models are at `<root>/<registry>/<org>/<name>/versions/<revision>/`."""
    quarantine: Path
    """The folder that keeps quarantined components."""
    components: dict[str, Path] = {}
    """Path by component key: a folder with `versions/` and `current`, or a plain folder or file."""
    loose: tuple[Path, ...] = ()
    """Folders whose direct children are unnamed components, found by digest alone."""


class EvidenceConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Paths that may be captured, and the folder of the archives."""

    folder: Path
    """Where archives and their manifests go."""
    roots: tuple[Path, ...]
    """Only paths below these are captured, whatever a command names."""
    systems: dict[str, tuple[Path, ...]] = {}
    """Paths to capture by system, in addition to those that the command names."""
    max_bytes: int = 10 * 1024**3
    """Most bytes of one capture; the rest is left out and reported."""
    max_files: int = 50_000
    """Most files of one capture."""


class BlocklistConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Files that loaders and installers read."""

    sources: Path | None = None
    """One value per line: `org/model`, `org/*`, `domain:…`, `sha256:…`."""
    constraints: Path | None = None
    """A pip constraint file: `name!=version`."""


class MlflowConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An MLflow model registry."""

    url: str
    """The address of its REST interface."""
    registry: str = "mlflow"
    """The second part of its models' keys, `model:mlflow/name`."""
    alias: str = "production"
    """The alias that serving follows; a rollback moves it."""
    token_file: Path | None = None
    """A file with a bearer token."""
    artifact_roots: tuple[Path, ...] = ()
    """Folders from which artifacts of versions may be read for verification."""
    timeout_seconds: float = 10.0
    """How long one request may take."""


class HookConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An HTTP service that carries out an action."""

    url: str
    """Where the command is posted to."""
    secret_file: Path
    """A file with the secret that signs requests."""
    timeout_seconds: float = 10.0
    """How long one request may take."""
    attempts: int = 4
    """How often it is tried before the command fails, 1 to 10."""
    plain_http: bool = False
    """Allow http:// to hosts other than this machine."""


class Site(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The targets of one tenant; commands of other tenants never touch them."""

    store: StoreConfig | None = None
    evidence: EvidenceConfig | None = None
    blocklist: BlocklistConfig | None = None
    mlflow: MlflowConfig | None = None
    hooks: dict[str, HookConfig] = {}
    """Hooks by action: instead of an action of the responder, or after it."""


class ResponderConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The configuration of one responder."""

    name: str = "responder"
    """Name of its consumer group and of its entries in the chain of custody."""
    state_dir: Path
    """Folder of its journal, on a persistent disk."""
    topics: Literal["operator", "tenant"] = "operator"
    """Whether to read the operator's command topic or the tenants' own topics."""
    results_topic: str | None = None
    """Topic for results, bound to the tenant by the operator; None: the shared topic."""
    hold_seconds: int = 6 * 3600
    """How long a command waits for the commands in its `after`."""
    tenants: dict[str, Site]


_CONFIG: Final = Converter(ResponderConfig)


def read_config(raw: str, where: str = "") -> ResponderConfig:
    """Return a configuration.

    Args:
        raw: TOML.
        where: Its path, for errors.

    Raises:
        ResponderConfigError: with the field that is wrong.
    """
    try:
        config = _CONFIG(tomllib.loads(raw), dec_hook=_path)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ResponderConfigError(
            f"the responder's configuration is not valid ({error})",
            where=where,
            remedy="compare with deploy/responder.example.toml",
        ) from error
    problems = list(_contradictions(config))
    if problems:
        raise ResponderConfigError(problems[0], where=where, remedy="correct it")
    return config


def load_config(path: Path) -> ResponderConfig:
    """Return the configuration of a file.

    Raises:
        ResponderConfigError: It can't be read, or is not valid.
    """
    try:
        raw = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ResponderConfigError(
            "the responder's configuration can't be read", where=str(path), remedy=str(error)
        ) from error
    return read_config(raw, str(path))


def unmet(config: ResponderConfig) -> list[str]:
    """Return the requirements of the configuration that this machine lacks, one sentence each."""
    missing: list[str] = []

    def folder(path: Path, what: str, *, writable: bool) -> None:
        if not path.is_dir():
            missing.append(f"{what}: {path} is not a folder")
        elif not os.access(path, os.R_OK | os.X_OK | (os.W_OK if writable else 0)):
            missing.append(f"{what}: {path} can't be {'written' if writable else 'read'}")

    def creatable(path: Path, what: str) -> None:
        """Check a folder that is created on first use: its nearest existing parent."""
        existing = next((step for step in (path, *path.parents) if step.exists()), path)
        if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
            missing.append(f"{what}: {path} can't be written")

    def secret(path: Path, what: str) -> None:
        if not path.is_file() or not os.access(path, os.R_OK):
            missing.append(f"{what}: {path} can't be read")

    creatable(config.state_dir, "state_dir")
    for tenant, site in config.tenants.items():
        if site.store is not None:
            folder(site.store.root, f"{tenant}: store.root", writable=True)
            creatable(site.store.quarantine, f"{tenant}: store.quarantine")
            for loose in site.store.loose:
                folder(loose, f"{tenant}: store.loose", writable=True)
        if site.evidence is not None:
            creatable(site.evidence.folder, f"{tenant}: evidence.folder")
            for root in site.evidence.roots:
                folder(root, f"{tenant}: evidence.roots", writable=False)
        if site.blocklist is not None:
            for name in ("sources", "constraints"):
                if (path := getattr(site.blocklist, name)) is not None:
                    folder(path.parent, f"{tenant}: blocklist.{name}", writable=True)
        if site.mlflow is not None and site.mlflow.token_file is not None:
            secret(site.mlflow.token_file, f"{tenant}: mlflow.token_file")
        for action, hook in site.hooks.items():
            secret(hook.secret_file, f"{tenant}: hooks.{action}.secret_file")
    return missing


def _path(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str):
        path = Path(value)
        if not path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{value!r} is not an absolute path")
        return path
    raise NotImplementedError(f"no configuration field is a {kind}")  # msgspec's protocol


def _contradictions(config: ResponderConfig) -> list[str]:
    wrong: list[str] = []
    if not config.tenants:
        wrong.append("it serves no tenant: add a table [tenants.<name>]")
    if config.hold_seconds < 0:
        wrong.append("hold_seconds is not less than 0")
    if not NAME.fullmatch(config.name):
        wrong.append(f"name {config.name!r} may have letters, digits, '.', '_' and '-' only")
    if config.topics == "tenant" and len(config.tenants) > 1:
        wrong.append("a responder that reads a tenant's own topic serves that tenant alone")
    for tenant, site in config.tenants.items():
        if (store := site.store) is not None:
            used = (store.root, *store.loose, *store.components.values())
            wrong += [
                f"{tenant}: {path} and the quarantine must be separate folders"
                for path in used
                if _within(store.quarantine, path) or _within(path, store.quarantine)
            ]
            for key in store.components:
                try:
                    split_key(key)
                except InvalidComponentError as error:
                    wrong.append(f"{tenant}: store.components: {error.what}")
        if (evidence := site.evidence) is not None:
            wrong += [
                f"{tenant}: evidence.folder is in {root}, and would capture itself"
                for root in evidence.roots
                if _within(evidence.folder, root)
            ]
            if evidence.max_bytes < 1 or evidence.max_files < 1:
                wrong.append(f"{tenant}: evidence.max_bytes and max_files are at least 1")
        for action, hook in site.hooks.items():
            if action not in HOOK_ACTIONS:
                wrong.append(f"{tenant}: a hook has no action {action!r}")
            wrong.extend(_bad_url(f"{tenant}: hooks.{action}", hook.url, plain=hook.plain_http))
            if not 1 <= hook.attempts <= 10:  # noqa: PLR2004 -- ten tries take some minutes
                wrong.append(f"{tenant}: hooks.{action}.attempts is 1 to 10")
        if site.mlflow is not None:
            wrong.extend(_bad_url(f"{tenant}: mlflow", site.mlflow.url, plain=True))
    return wrong


def _bad_url(what: str, url: str, *, plain: bool) -> list[str]:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
        return [f"{what}: the url is http(s)://host…, without a password in it"]
    if parts.scheme == "http" and not plain and parts.hostname not in _LOOPBACK:
        return [f"{what}: http:// only to this host; use https:// or say plain_http = true"]
    return []


def _within(path: Path, folder: Path) -> bool:
    return path == folder or folder in path.parents
