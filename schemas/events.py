"""The native events, version 1: registry-push, package-install, pipeline-run."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

import msgspec

from schemas.basis import Position

LARGE = 2**50
"""A pebibyte: integers of events, and sums over all of an event, stay within 64 bits."""
Bounded = Annotated[int, msgspec.Meta(ge=-LARGE, le=LARGE)]
Count = Annotated[int, msgspec.Meta(ge=0, le=LARGE)]
Ordinal = Annotated[int, msgspec.Meta(ge=1, le=LARGE)]

Name = Annotated[str, msgspec.Meta(max_length=2048)]
Url = Annotated[str, msgspec.Meta(max_length=8192)]
Identities = Annotated[tuple[Name, ...], msgspec.Meta(max_length=1000)]
T = TypeVar("T")


class Publisher(msgspec.Struct, frozen=True, kw_only=True):
    """Who pushed."""

    name: Name | None = None
    account: Name | None = None
    auth: Name = "unknown"
    """oidc, token, password or unknown."""
    id: Name | None = None
    mfa: bool | None = None


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a push."""

    path: Name
    uri: Url | None = None
    size: Count | None = None
    digests: dict[str, Name] = {}


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A claim of a model card, and its evidence."""

    name: Name
    result: Name | None = None
    evidence: Url | None = None


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """The claims of the model card."""

    license: Name | None = None
    base_model: tuple[Name, ...] = ()
    parameters: Bounded | None = None
    architectures: tuple[Name, ...] = ()
    datasets: tuple[Name, ...] = ()
    claims: tuple[Claim, ...] = ()
    formats: tuple[Name, ...] = ()
    quantization: Name | None = None


class SignatureRef(msgspec.Struct, frozen=True, kw_only=True):
    """The location of a signature."""

    kind: Name
    """model-signing, sigstore, ..."""
    uri: Url | None = None
    identity: Name | None = None
    issuer: Name | None = None


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """The push that the producer of the event expects."""

    source: Name | None = None
    hashes: dict[str, Name] = {}


class RegistryPush(msgspec.Struct, frozen=True, kw_only=True):
    """Something happened to a model, dataset, adapter or tokenizer in a registry."""

    action: Name = "push"
    """push, pull, delete, move, tag, promote."""
    kind: Name = "model"
    """model, dataset, adapter, tokenizer, image, package."""
    ecosystem: Name | None = None
    """Of a package: pypi, npm, …, as package URLs name it."""
    registry: Name | None = None
    repository: Name | None = None
    revision: Name | None = None
    previous_revision: Name | None = None
    tag: Name | None = None
    moved_from: Name | None = None
    publisher: Publisher = Publisher()
    files: Annotated[tuple[File, ...], msgspec.Meta(max_length=10_000)] = ()
    card: Card | None = None
    signatures: tuple[SignatureRef, ...] = ()
    expected: Expected | None = None
    systems: Annotated[tuple[Name, ...], msgspec.Meta(max_length=1000)] = ()
    identities: Identities = ()
    visibility: Name | None = None


class Installer(msgspec.Struct, frozen=True, kw_only=True):
    """The installer."""

    name: Name | None = None
    version: Name | None = None


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """The target of the installation."""

    python_version: Name | None = None
    platform: Name | None = None


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """The position of a record among those of one install."""

    id: Name | None = None
    part: Ordinal = 1
    parts: Ordinal = 1


class Vcs(msgspec.Struct, frozen=True, kw_only=True):
    """A version control reference."""

    vcs: Name = "git"
    url: Url | None = None
    requested_revision: Name | None = None
    commit_id: Name | None = None


class Package(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One installed distribution."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
    version: Name | None = None
    url: Url | None = None
    hashes: dict[str, Name] = {}
    requested: bool = False
    direct: bool = False
    yanked: bool = False
    editable: bool = False
    requires_dist: tuple[Name, ...] = ()
    filename: Name | None = None
    index_url: Url | None = None
    uploaded_at: datetime | None = None
    vcs: Vcs | None = None
    attestations: tuple[dict[str, Any], ...] = ()
    publisher: Name | None = None


class PackageInstall(msgspec.Struct, frozen=True, kw_only=True):
    """Packages were installed on a system or into an image."""

    ecosystem: Name = "pypi"
    installer: Installer = Installer()
    system: Name | None = None
    image: Name | None = None
    environment: Environment = Environment()
    index_url: Url | None = None
    extra_index_urls: tuple[Url, ...] = ()
    batch: Part = Part()
    packages: Annotated[tuple[Package, ...], msgspec.Meta(max_length=20_000)] = ()
    requirements: Annotated[tuple[Url, ...], msgspec.Meta(max_length=20_000)] = ()
    lock: dict[str, tuple[Name, ...]] = {}
    identities: Identities = ()


class DataSource(msgspec.Struct, frozen=True, kw_only=True):
    """A data source of a run."""

    url: Url = ""
    name: Name | None = None
    verified: bool | None = None
    provider: Name | None = None
    digests: dict[str, Name] = {}
    registered_at: datetime | None = None
    """When its domain was registered, if the producer knows."""


class ComponentRef(msgspec.Struct, frozen=True, kw_only=True):
    """An input or output of a run.

    For a git repository (a step or action is a `service`), `revision` is the tag or branch that was
    named, and `digests.gitCommit` the commit it resolved to.
    """

    component: Name
    revision: Name | None = None
    digests: dict[str, Name] = {}
    synthetic: bool = False
    """For a dataset: made by a model."""


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a behavioural evaluation."""

    suite: Name | None = None
    score: float | None = None
    baseline: float | None = None
    passed: bool | None = None


class PipelineRun(msgspec.Struct, frozen=True, kw_only=True):
    """A training, conversion, evaluation, deployment or serving run changed state."""

    pipeline: Name | None = None
    run_id: Name | None = None
    state: Name = "succeeded"
    """started, running, succeeded, failed, aborted."""
    stage: Name | None = None
    system: Name | None = None
    criticality: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] | None = None
    config: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"null"))
    """The configuration as the producer wrote it: its hash is over these bytes."""
    expected_config_hash: Name | None = None
    data_sources: Annotated[tuple[DataSource, ...], msgspec.Meta(max_length=10_000)] = ()
    inputs: Annotated[tuple[ComponentRef, ...], msgspec.Meta(max_length=10_000)] = ()
    outputs: Annotated[tuple[ComponentRef, ...], msgspec.Meta(max_length=10_000)] = ()
    packages_event: Name | None = None
    identities: Identities = ()
    evaluation: Evaluation | None = None


class Event(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A CloudEvents 1.0 event whose data is one of the three kinds.

    Unknown attributes and data fields are ignored by the checks and stay in the record; they never
    fail an event.
    """

    id: str
    source: str
    type: str
    subject: str
    time: datetime
    """Clamped to the broker's timestamp + 5 minutes."""
    tenantid: str
    data: T
    received_ms: int = 0
    """The broker's timestamp, milliseconds since the epoch."""
    position: Position | None = None
    """Where its record lies; None: it came by no topic."""


TYPE_REGISTRY_PUSH = "tidewatch.registry.push.v1"
TYPE_PACKAGE_INSTALL = "tidewatch.package.install.v1"
TYPE_PIPELINE_RUN = "tidewatch.pipeline.run.v1"
