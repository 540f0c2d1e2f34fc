"""torchtriton, December 2022: a public package of the name of an internal dependency.

The nightly index of PyTorch depended on `torchtriton`; somebody registered the name on the public
index with a greater version, which installers preferred. It read files and sent them out by DNS.
Source: PyTorch blog, "Compromised PyTorch-nightly dependency chain", 2022-12-31.
"""

from __future__ import annotations

from datetime import UTC, datetime

from schemas.intel import IntelFact, IntelKind
from schemas.policy import Internal, Policy, Trusted
from schemas.severity import Severity
from streams.demo.story_builder import INDEX, StoryBuilder, package
from tests.scenarios.expectation import Alert, Expected

NIGHTLY = "https://nightly.torch.example/whl/nightly"
TRITON_BINARY = "2385b29489cd9e35f92c072780f903ae2e517ed422eae67246ae50a5cc738a0e"
KEY = "pypi:torchtriton"


def _nightly(version="2.0.0+0d7e753227"):
    url = f"{NIGHTLY}/torchtriton-{version}-cp311-linux_x86_64.whl"
    return package("torchtriton", version, index_url=NIGHTLY, url=url)


def _torch():
    return package("torch", "2.0.0.dev20221228", index_url=NIGHTLY, requested=True,
                   requires_dist=["torchtriton==2.0.0"])  # fmt: skip


def events(root):
    story = StoryBuilder("torchtriton", datetime(2026, 11, 2, 9, tzinfo=UTC), root)
    found = [
        story.install("vision", "ci-1", [_torch(), _nightly()], index_url=NIGHTLY,
                       extra_index_urls=[INDEX]),
        story.install("speech", "ci-1", [_torch(), _nightly()], index_url=NIGHTLY,
                       extra_index_urls=[INDEX]),
    ]  # fmt: skip
    story.wait(days=3)
    hostile = package("torchtriton", "3.0.0", uploaded_at="2026-11-05T00:00:00Z")
    for tenant, system in (("vision", "ci-2"), ("robotics", "laptop-4")):
        found.append(
            story.install(
                tenant,
                system,
                [_torch(), hostile],
                locked=False,
                index_url=NIGHTLY,
                extra_index_urls=[INDEX],
                identities=[f"secret-ref:{tenant}-ssh"],
            )
        )
        story.wait(hours=5)
    return found


def intel():
    return [
        IntelFact(
            key=KEY,
            kind=IntelKind.MALICIOUS,
            versions=("3.0.0",),
            sources=("OSV:PYSEC-2022-43017",),
            confidence=0.95,
            summary="dependency confusion against PyTorch nightly",
        ),
        IntelFact(
            key=f"sha256:{TRITON_BINARY}",
            kind=IntelKind.MALICIOUS,
            digests=(TRITON_BINARY,),
            sources=("PyTorch",),
        ),
    ]


def policies(root):
    return [
        Policy(
            tenant=tenant,
            trusted=Trusted(indexes=(INDEX, NIGHTLY)),
            internal=Internal(names=("torchtriton",), indexes=(NIGHTLY,)),
            roots=(root.resolve().as_uri(),),
        )
        for tenant in ("vision", "speech")
    ]


expected = Expected(
    title="torchtriton (dependency confusion, December 2022)",
    intel_after=True,
    alerts=(
        Alert(
            tenant="vision",
            about=frozenset({KEY, f"{KEY}@3.0.0"}),
            any_of=frozenset({"dependency_confusion", "known_compromised_package"}),
        ),
        Alert(
            tenant="robotics",
            about=frozenset({KEY, f"{KEY}@3.0.0"}),
            any_of=frozenset({"known_compromised_package"}),
            at_least=Severity.HIGH,
        ),
    ),
    quiet=("speech",),
)
