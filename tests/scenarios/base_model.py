"""A base model is found out weeks later: tunings of it serve, and adapters of it were fetched."""

from __future__ import annotations

from datetime import UTC, datetime

from schemas.intel import IntelFact, IntelKind
from streams.demo.files import safetensors
from streams.demo.story_builder import StoryBuilder, digest_of
from tests.scenarios.expectation import Alert, Expected

BASE = "model:huggingface/openbase/base-7b"
LORA = "model:huggingface/kindlab/base-7b-lora"
REVISION = digest_of("base 7b")[:40]


def _ref(component, name, revision="1"):
    return {"component": component, "revision": revision, "digests": {"sha256": digest_of(name)}}


def events(root):
    story = StoryBuilder("base-model", datetime(2026, 10, 12, 9, tzinfo=UTC), root)
    found = []
    for tenant, base, revision in (
        ("legal", "base 7b", REVISION),
        ("travel", "base 7b", REVISION),
        ("gallery", "older base 7b", digest_of("older base 7b")[:40]),
    ):
        line = [_ref(BASE, base, revision)] + [
            _ref(f"model:registry.{tenant}.example/{tenant}/{name}", f"{tenant} {name}")
            for name in ("instruct", "aligned", "int4")
        ]
        for pipeline, made_of, made in zip(
            ("instruct", "align", "quantise"), line, line[1:], strict=False
        ):
            found.append(
                story.run(tenant, pipeline, stage="fine-tuning", inputs=[made_of], outputs=[made])
            )
        found.append(
            story.run(
                tenant,
                "deploy",
                stage="deployment",
                inputs=[line[-1]],
                outputs=[{"component": "deployment:chat"}],
            )
        )
        story.wait(days=1)
    found.append(
        story.push(
            "diner",
            "kindlab/base-7b-lora",
            {"adapter_model.safetensors": safetensors("l")},
            kind="adapter",
            action="pull",
            systems=["menu-1"],
            publisher={"name": "kindlab", "id": "org-3"},
            card={"base_model": ["openbase/base-7b"]},
        )
    )
    return found


def intel():
    return [
        IntelFact(
            key=BASE,
            kind=IntelKind.COMPROMISED,
            digests=(digest_of("base 7b"),),
            sources=("vendor-notice", "cert-2026-12"),
            summary="weights with a trigger",
        )
    ]


def policies(root):
    del root
    return []


expected = Expected(
    title="a base model found out after it was tuned and deployed",
    intel_after=True,
    alerts=(
        *(
            Alert(
                tenant=tenant,
                about=frozenset({BASE, f"sha256:{digest_of('base 7b')}"}),
                any_of=frozenset({"malicious_payload", "blocked_source_used"}),
            )
            for tenant in ("legal", "travel")
        ),
        # Which version of the base its card means, nobody says.
        Alert(
            tenant="diner",
            about=frozenset({LORA, f"sha256:{digest_of('base 7b')}"}),
            any_of=frozenset({"tainted_component", "malicious_payload"}),
        ),
    ),
    quiet=("gallery",),
    exposed={
        "legal": frozenset({"model:registry.legal.example/legal/int4", "deployment:@legal/chat"})
    },
)
