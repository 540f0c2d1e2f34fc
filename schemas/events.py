"""The native events, version 1: registry-push, package-install, pipeline-run."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
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
    """Who pushed: the organisation and the account."""

    name: Name | None = None
    """The organisation or user that it is published under."""
    account: Name | None = None
    """The account that pushed."""
    auth: Name = "unknown"
    """oidc, token, password or unknown."""
    id: Name | None = None
    """The account's id, which stays when it is renamed."""
    mfa: bool | None = None
    """Whether the account has a second factor."""


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a push."""

    path: Name
    """Within the repository."""
    uri: Url | None = None
    """Where it can be fetched, below a root of the tenant's policy."""
    size: Count | None = None
    """In bytes."""
    digests: dict[str, Name] = {}
    """By algorithm: `sha256` counts, in hex."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A claim of a model card, and its evidence."""

    name: Name
    """The claim."""
    result: Name | None = None
    """Its result."""
    evidence: Url | None = None
    """Where the evidence is."""


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """The claims of the model card."""

    license: Name | None = None
    """SPDX id or the registry's word."""
    base_model: tuple[Name, ...] = ()
    """What it was made from."""
    parameters: Bounded | None = None
    """How many it has."""
    architectures: tuple[Name, ...] = ()
    """Names of its classes."""
    datasets: tuple[Name, ...] = ()
    """What it was trained on."""
    claims: tuple[Claim, ...] = ()
    """The evaluations that the card claims."""
    formats: tuple[Name, ...] = ()
    """The formats that the card names."""
    quantization: Name | None = None
    """How its numbers are stored."""


class SignatureRef(msgspec.Struct, frozen=True, kw_only=True):
    """The location of a signature."""

    kind: Name
    """model-signing, sigstore, ..."""
    uri: Url | None = None
    """Where it can be fetched."""
    identity: Name | None = None
    """The signer, by the certificate."""
    issuer: Name | None = None
    """The issuer of the identity."""


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """The push that the producer of the event expects."""

    source: Name | None = None
    """`registry/organisation/name` that it should come from."""
    hashes: dict[str, Name] = {}
    """SHA-256 by path, as the tenant knows them."""


class PushAction(StrEnum):
    """What happened in a registry; an event may name another, which counts as seen."""

    PUSH = "push"
    PULL = "pull"
    DELETE = "delete"
    MOVE = "move"
    TAG = "tag"
    PROMOTE = "promote"


class ArtifactKind(StrEnum):
    """The kind of an artifact; an event may name another, which counts as a model."""

    MODEL = "model"
    DATASET = "dataset"
    ADAPTER = "adapter"
    TOKENIZER = "tokenizer"
    IMAGE = "image"
    PACKAGE = "package"


class RegistryPush(msgspec.Struct, frozen=True, kw_only=True):
    """Something happened to a model, dataset, adapter or tokenizer in a registry."""

    action: Name = PushAction.PUSH
    """push, pull, delete, move, tag, promote."""
    kind: Name = ArtifactKind.MODEL
    """model, dataset, adapter, tokenizer, image, package."""
    ecosystem: Name | None = None
    """Of a package: pypi, npm, …, as package URLs name it."""
    registry: Name | None = None
    """The registry's name or host."""
    repository: Name | None = None
    """`organisation/name`."""
    revision: Name | None = None
    """The commit or version that was pushed."""
    previous_revision: Name | None = None
    """What it replaces."""
    tag: Name | None = None
    """The branch or tag that moved."""
    moved_from: Name | None = None
    """For a move: the repository's earlier name."""
    publisher: Publisher = Publisher()
    """Its publisher."""
    files: Annotated[tuple[File, ...], msgspec.Meta(max_length=10_000)] = ()
    """What it consists of; without them the listing of the revision is fetched."""
    card: Card | None = None
    """What the model card claims."""
    signatures: tuple[SignatureRef, ...] = ()
    """Signatures of the files, to be verified."""
    expected: Expected | None = None
    """What the producer expected, to compare with."""
    systems: Annotated[tuple[Name, ...], msgspec.Meta(max_length=1000)] = ()
    """The tenant's systems that hold it now."""
    identities: Identities = ()
    """References to credentials it could reach, never values."""
    visibility: Name | None = None
    """public or private."""


class Installer(msgspec.Struct, frozen=True, kw_only=True):
    """The installer."""

    name: Name | None = None
    """pip, uv, poetry, ..."""
    version: Name | None = None
    """Its version."""


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """The target of the installation."""

    python_version: Name | None = None
    """As `sys.version_info`, 3.12."""
    platform: Name | None = None
    """As a wheel's tag."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """The position of a record among those of one install."""

    id: Name | None = None
    """The same for all parts of one install."""
    part: Ordinal = 1
    """This part, from 1."""
    parts: Ordinal = 1
    """How many there are."""


class Vcs(msgspec.Struct, frozen=True, kw_only=True):
    """A version control reference."""

    vcs: Name = "git"
    """git, hg, ..."""
    url: Url | None = None
    """The repository."""
    requested_revision: Name | None = None
    """The branch, tag or commit that was asked for."""
    commit_id: Name | None = None
    """The commit that was installed."""


class Package(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One installed distribution."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
    """As its metadata says."""
    version: Name | None = None
    """The installed version."""
    url: Url | None = None
    """Where it was fetched from."""
    hashes: dict[str, Name] = {}
    """Of the fetched file, by algorithm."""
    requested: bool = False
    """Requested, not a dependency of another."""
    direct: bool = False
    """Installed from a URL or path, not from an index."""
    yanked: bool = False
    """The release is yanked."""
    editable: bool = False
    """Installed for development, from a folder."""
    requires_dist: tuple[Name, ...] = ()
    """What it depends on."""
    filename: Name | None = None
    """The file's name."""
    index_url: Url | None = None
    """The index it came from."""
    uploaded_at: datetime | None = None
    """When the file was uploaded."""
    vcs: Vcs | None = None
    """Where it came from, if from version control."""
    attestations: tuple[dict[str, Any], ...] = ()
    """PEP 740 attestations of the file."""
    publisher: Name | None = None
    """Its publisher, by the index."""


class PackageInstall(msgspec.Struct, frozen=True, kw_only=True):
    """Packages were installed on a system or into an image."""

    ecosystem: Name = "pypi"
    """`pypi`."""
    installer: Installer = Installer()
    """What installed them."""
    system: Name | None = None
    """The host they were installed on."""
    image: Name | None = None
    """The image they were installed into."""
    environment: Environment = Environment()
    """The target of the installation."""
    index_url: Url | None = None
    """The index that was configured."""
    extra_index_urls: tuple[Url, ...] = ()
    """Further indexes."""
    batch: Part = Part()
    """Which part of an install this is."""
    packages: Annotated[tuple[Package, ...], msgspec.Meta(max_length=20_000)] = ()
    """What was installed."""
    requirements: Annotated[tuple[Url, ...], msgspec.Meta(max_length=20_000)] = ()
    """The requested packages, line by line."""
    lock: dict[str, tuple[Name, ...]] = {}
    """`name==version`: the hashes that are allowed."""
    identities: Identities = ()
    """References to credentials that were in reach, never values."""


class DataSource(msgspec.Struct, frozen=True, kw_only=True):
    """A data source of a run."""

    url: Url = ""
    """Where the data was read from."""
    name: Name | None = None
    """Its name in the pipeline."""
    verified: bool | None = None
    """Whether the producer verified it."""
    provider: Name | None = None
    """The vendor or annotation service."""
    digests: dict[str, Name] = {}
    """Of the data, by algorithm."""
    registered_at: datetime | None = None
    """When its domain was registered, if the producer knows."""


class ComponentRef(msgspec.Struct, frozen=True, kw_only=True):
    """An input or output of a run.

    For a git repository (a step or action is a `service`), `revision` is the tag or branch that was
    named, and `digests.gitCommit` the commit it resolved to.
    """

    component: Name
    """A component key, `kind:name`."""
    revision: Name | None = None
    """Its version or revision."""
    digests: dict[str, Name] = {}
    """By algorithm: `sha256`, `gitCommit`."""
    synthetic: bool = False
    """For a dataset: made by a model."""


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a behavioural evaluation."""

    suite: Name | None = None
    """Its name."""
    score: float | None = None
    """Its result."""
    baseline: float | None = None
    """Its earlier result."""
    passed: bool | None = None
    """Whether it passed."""


class RunStage(StrEnum):
    """The stages that determine the exposure of a run's inputs; an event may name any other."""

    CRAWL = "crawl"
    ANNOTATION = "annotation"
    DEPLOYMENT = "deployment"
    SERVING = "serving"


class RunState(StrEnum):
    """The states of a run that checks know; a producer may send others."""

    STARTED = "started"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABORTED = "aborted"


class PipelineRun(msgspec.Struct, frozen=True, kw_only=True):
    """A training, conversion, evaluation, deployment or serving run changed state."""

    pipeline: Name | None = None
    """Its name."""
    run_id: Name | None = None
    """The run's id."""
    state: Name = RunState.SUCCEEDED
    """started, running, succeeded, failed, aborted."""
    stage: Name | None = None
    """train, convert, evaluate, deploy, serve."""
    system: Name | None = None
    """Where it ran."""
    criticality: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] | None = None
    """How much the outcome matters, 0 to 1."""
    config: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"null"))
    """The configuration as the producer wrote it: its hash is over these bytes."""
    expected_config_hash: Name | None = None
    """SHA-256 that the configuration should have."""
    data_sources: Annotated[tuple[DataSource, ...], msgspec.Meta(max_length=10_000)] = ()
    """Where data was read from."""
    inputs: Annotated[tuple[ComponentRef, ...], msgspec.Meta(max_length=10_000)] = ()
    """What it was made from."""
    outputs: Annotated[tuple[ComponentRef, ...], msgspec.Meta(max_length=10_000)] = ()
    """What it made."""
    packages_event: Name | None = None
    """The id of the event of its install."""
    identities: Identities = ()
    """References to credentials that were in reach, never values."""
    evaluation: Evaluation | None = None
    """The result, where the run evaluated."""


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
    """The position of its record; None: it was not on a topic."""
    baseline: bool = False
    """It reports what was in use before monitoring began: the ledger learns it, and only known
    malicious things are alerted. An extension attribute of CloudEvents."""


TYPE_REGISTRY_PUSH = "tidewatch.registry.push.v1"
TYPE_PACKAGE_INSTALL = "tidewatch.package.install.v1"
TYPE_PIPELINE_RUN = "tidewatch.pipeline.run.v1"
