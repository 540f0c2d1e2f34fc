"""Real attestations verify offline, for their own file and publisher only."""

from __future__ import annotations

import copy
import hashlib
import shutil
import socket
from importlib import resources
from pathlib import Path

import orjson
import pytest

from agents.checks.packages.check import check_packages
from agents.domain.knowledge import MemoryKnowledge
from schemas.basis import BasisKind
from schemas.errors import TidewatchError
from schemas.policy import Policy, TrustRoot
from schemas.severity import Status
from streams.cli import main
from tests.agents.checks.packages.installs import OTHER, checked, install, rules

SIGNED = Path(__file__).resolve().parents[3] / "data" / "signatures"

GITHUB = (
    "pypi_attestations-0.0.19.tar.gz",
    "provenance",
    "9bb1add04b1b4e182be6b0b80931593f7a291eb49d69b4fd728a5d4cbcdc4bd3",
    "publisher:github/trailofbits/pypi-attestations",
)
GITLAB = (
    "gitlab_oidc_project-0.0.3.tar.gz",
    "publish.attestation",
    "c1ca9b0d85df1606451098233018534497bf584362e10e4a8c21dfaea92c02a8",
    "publisher:gitlab/facutuesca/gitlab-oidc-project",
)
CIRCLECI = (
    "circleci_sign_publish_example-0.0.1.dev137-py3-none-any.whl",
    "provenance",
    "8cb34da1e27336f11a2c43f3f9c7433bd76f24f470c904724f06ad7f131d9e9f",
    "publisher:circleci/fdd9283f-e619-46af-8f9c-851f7d3e8b2b",
)
GOOGLE = (
    "gcb_attestation_test-0.0.0.tar.gz",
    "provenance",
    "461317362419124b6012e855423a9078d6de8aed3e74fa78cc74d669b23dc6cf",
    "publisher:mail/919436158236-compute@developer.gserviceaccount.com",
)
REAL = pytest.mark.parametrize(
    ("filename", "ending", "digest", "publisher"),
    [GITHUB, GITLAB, CIRCLECI, GOOGLE],
    ids=["github", "gitlab", "circleci", "google"],
)
DECLARING = pytest.mark.parametrize(
    ("filename", "ending", "digest", "publisher"),
    [GITHUB, CIRCLECI, GOOGLE],
    ids=["github", "circleci", "google"],
)

BUNDLED = "pypi_attestation_models-0.0.4a2.tar.gz"
WORKFLOW = (
    "https://github.com/trailofbits/pypi-attestation-models/.github/workflows/release.yml"
    "@refs/tags/v0.0.4a2"
)
ACTIONS = "https://token.actions.githubusercontent.com"
ACCOUNT = "919436158236-compute@developer.gserviceaccount.com"
GOOGLE_ISSUER = "https://accounts.google.com"
PACKAGED_ROOT = resources.files("sigstore._store").joinpath(
    "https%3A%2F%2Ftuf-repo-cdn.sigstore.dev", "trusted_root.json"
)


class NetworkUsedError(BaseException):
    """Not an Exception, so that nothing under test can take it for a failed verification."""


@pytest.fixture(scope="module")
def attestations():
    """What is tested. Its libraries are large: only the process that runs the tests loads them."""
    from agents.checks.packages import attestations  # noqa: PLC0415 -- see above

    return attestations


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*arguments, **_options):
        raise NetworkUsedError(arguments)

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


def document(filename, ending):
    return orjson.loads((SIGNED / f"{filename}.{ending}").read_bytes())


def install_of(filename, digest, attestations):
    name, version = filename.split("-")[:2]
    package = {
        "name": name.replace("_", "-"),
        "version": version.removesuffix(".tar.gz"),
        "filename": filename,
        "hashes": {"sha256": digest},
        "attestations": attestations,
    }
    return {"packages": [package]}


def attested(outcome):
    return {check.name: check for check in outcome.checks}["attestations"]


def test_the_network_is_out_of_reach():
    with pytest.raises(NetworkUsedError):
        socket.create_connection(("index.example", 443))


@REAL
def test_real_attestation_names_its_publisher(filename, ending, digest, publisher, attestations):
    objects = attestations.attestation_objects([document(filename, ending)])
    assert len(objects) == 1
    result = attestations.verify_attestation(objects[0][0], filename, digest)
    assert (result.filename, result.digest, result.publisher) == (filename, digest, publisher)


@REAL
def test_real_attestation_is_refused_for_another_file_or_digest(
    filename, ending, digest, publisher, attestations
):
    [(one, _)] = attestations.attestation_objects([document(filename, ending)])
    with pytest.raises(attestations.UnverifiedDistributionError, match="another digest"):
        attestations.verify_attestation(one, filename, OTHER)
    with pytest.raises(attestations.UnverifiedDistributionError, match="is about"):
        attestations.verify_attestation(one, "other-1.0.tar.gz", digest)
    altered = copy.deepcopy(one)
    altered["envelope"]["statement"] = altered["envelope"]["statement"].replace("a", "b", 1)
    with pytest.raises(attestations.UnverifiedDistributionError, match="does not verify"):
        attestations.verify_attestation(altered, filename, digest)
    assert publisher


def test_signature_under_another_trust_root_is_refused(attestations):
    filename = "rfc8785-0.1.2-py3-none-any.whl"
    digest = "c4e92e9ecc828bef2aa7dba1de8ac983511f7532a0df11c770d39099a25cf201"
    with pytest.raises(attestations.UnverifiedDistributionError, match="does not verify"):
        attestations.verify_attestation(document(filename, "publish.attestation"), filename, digest)


@REAL
def test_install_with_a_real_attestation_passes_and_its_publisher_is_observed(
    filename, ending, digest, publisher
):
    outcome = checked(install_of(filename, digest, [document(filename, ending)]))
    assert attested(outcome).status is Status.PASS
    assert attested(outcome).detail == "1 verified"
    assert "TW-PKG-ATTESTATION" not in rules(outcome)
    assert {sighting.publisher for sighting in outcome.sightings if sighting.publisher} == {
        publisher
    }


@REAL
def test_install_of_another_digest_than_attested_fails(filename, ending, digest, publisher):
    outcome = checked(install_of(filename, OTHER, [document(filename, ending)]))
    assert attested(outcome).status is Status.FAIL
    assert "TW-PKG-ATTESTATION" in rules(outcome)
    assert publisher not in {sighting.publisher for sighting in outcome.sightings}
    assert digest != OTHER


@DECLARING
@pytest.mark.parametrize("kind", ["GitHub", "GitLab"])
def test_attestation_signed_by_another_than_the_declared_publisher_fails(
    filename, ending, digest, publisher, kind
):
    provenance = document(filename, ending)
    provenance["attestation_bundles"][0]["publisher"] = {
        "kind": kind,
        "repository": "someone/else",
        "workflow": "release.yml",
    }
    outcome = checked(install_of(filename, digest, [provenance]))
    assert attested(outcome).status is Status.FAIL
    assert "not by publisher:" in attested(outcome).detail
    assert publisher not in {sighting.publisher for sighting in outcome.sightings}


@pytest.mark.parametrize(
    ("filename", "identity", "issuer"),
    [(BUNDLED, WORKFLOW, ACTIONS), (GOOGLE[0], ACCOUNT, GOOGLE_ISSUER)],
    ids=["sigstore bundle", "provenance"],
)
def test_distribution_verifies_for_its_signer_alone(
    filename, identity, issuer, tmp_path, attestations
):
    path = SIGNED / filename
    result = attestations.verify_distribution(path, identity, issuer)
    assert result.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    for other in ((f"{identity}x", issuer), (identity, "https://idp.example")):
        with pytest.raises(attestations.UnverifiedDistributionError):
            attestations.verify_distribution(path, *other)
    changed = tmp_path / filename
    changed.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(attestations.UnverifiedDistributionError) as refused:
        attestations.verify_distribution(
            changed, identity, issuer, next(SIGNED.glob(f"{filename}.*"))
        )
    assert not isinstance(refused.value, attestations.UnfinishedVerificationError)
    with pytest.raises(attestations.UnverifiedDistributionError, match="was found"):
        attestations.verify_distribution(changed, identity, issuer)


def test_only_the_operators_trust_root_counts(tmp_path, attestations):
    with pytest.raises(attestations.UnfinishedVerificationError, match="no trust root"):
        attestations.verify_distribution(
            SIGNED / BUNDLED, WORKFLOW, ACTIONS, trusted_root=tmp_path / "gone.json"
        )
    root = tmp_path / "trusted_root.json"
    packaged = orjson.loads(PACKAGED_ROOT.read_bytes())
    root.write_bytes(orjson.dumps(packaged))
    assert attestations.verify_distribution(SIGNED / BUNDLED, WORKFLOW, ACTIONS, trusted_root=root)
    other = tmp_path / "other_root.json"
    other.write_bytes(orjson.dumps(packaged | {"certificateAuthorities": []}))
    with pytest.raises(TidewatchError):
        attestations.verify_distribution(SIGNED / BUNDLED, WORKFLOW, ACTIONS, trusted_root=other)


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"mediaType": 1}', b'"x"', b"[" * 9999])
def test_malformed_bundle_is_refused(raw, attestations):
    with pytest.raises(attestations.UnverifiedDistributionError):
        attestations.verify_distribution(SIGNED / BUNDLED, WORKFLOW, ACTIONS, raw)


def test_verify_command_distinguishes_signed_refused_and_unfinished(capsys, tmp_path):
    path = str(SIGNED / BUNDLED)
    right = ["verify", "--identity", WORKFLOW, "--issuer", ACTIONS]
    assert main([*right, path]) == 0
    assert f"signed by {WORKFLOW}" in capsys.readouterr().out
    assert main(["verify", "--identity", "ci@acme.example", "--issuer", ACTIONS, path]) == 1
    assert main(["verify", "--identity", WORKFLOW, "--issuer", GOOGLE_ISSUER, path]) == 1
    assert "FAIL" in capsys.readouterr().out
    bare = tmp_path / BUNDLED
    shutil.copyfile(path, bare)
    assert main([*right, str(bare)]) == 1
    assert "no sigstore bundle" in capsys.readouterr().out
    assert main([*right, "--trusted-root", str(tmp_path / "gone.json"), path]) == 2
    assert "INCOMPLETE" in capsys.readouterr().out
    assert main([*right, "--signature", f"{path}.sigstore", str(bare)]) == 0
    bare.write_bytes(b"other")
    assert main([*right, "--signature", f"{path}.sigstore", str(bare)]) == 1


ROOT_OF = {
    "publisher": GITHUB[3],
    "another case": GITHUB[3].replace("github", "GitHub"),
}


def sightings_of(signer, *, namespaces=("pypi:pypi-attestations",), tenant=""):
    """Return what an install of a real, attested file says under a trust root."""
    filename, ending, digest, _ = GITHUB
    root = TrustRoot(signer=signer, namespaces=namespaces)
    knowledge = MemoryKnowledge(() if tenant else (root,))
    if tenant:
        knowledge.set_policy(tenant, Policy(tenant=tenant, trust_roots=(root,)))
    event = install(install_of(filename, digest, [document(filename, ending)]))
    return check_packages(event, knowledge).sightings


@pytest.mark.parametrize("signer", ROOT_OF.values(), ids=ROOT_OF)
@pytest.mark.parametrize("tenant", ["", "somebody"])
def test_a_signer_who_may_speak_of_a_package_attests_its_file(signer, tenant):
    by_name, by_digest = sightings_of(signer, tenant=tenant)
    assert by_name.component == "pypi:pypi-attestations"
    assert [(basis.kind, basis.tenant, basis.by) for basis in by_name.bound_by] == [
        (BasisKind.ATTESTED, tenant, (GITHUB[3],))
    ]
    assert by_digest.bound_by == ()


@pytest.mark.parametrize(
    ("signer", "namespaces"),
    [
        (GITHUB[3], ("pypi:torch",)),
        (GITLAB[3], ("pypi:*",)),
        (f"sigstore:{ACCOUNT} {GOOGLE_ISSUER}", ("pypi:*",)),
        ("-----BEGIN PUBLIC KEY-----", ("pypi:*",)),
    ],
    ids=["of another package", "somebody else", "another identity", "a key"],
)
def test_nobody_else_attests_it(signer, namespaces):
    for entry in sightings_of(signer, namespaces=namespaces):
        assert entry.bound_by == ()


def test_an_identity_of_sigstore_attests_a_file_too():
    filename, ending, digest, _ = GOOGLE
    root = TrustRoot(signer=f"sigstore:{ACCOUNT} {GOOGLE_ISSUER}", namespaces=("pypi:*",))
    event = install(install_of(filename, digest, [document(filename, ending)]))
    seen = check_packages(event, MemoryKnowledge((root,))).sightings
    assert [basis.by for basis in seen[0].bound_by] == [(ACCOUNT,)]
