"""A tenant that may write its own topic, and lies: everybody else stays quiet.

False locks for a genuine package, a lineage from a malicious package, a hostile file under
another's public name and under the version to go back to, and guesses of another's private names.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from schemas.intel import IntelFact, IntelKind
from streams.demo.files import HARMLESS_COMMAND, calling_pickle, safetensors, torch_archive
from streams.demo.story_builder import StoryBuilder, digest_of, lock_of, package
from tests.scenarios.expectation import Alert, Expected, fetching

MODEL = "lighthouse/forecast"
PUBLIC = f"model:huggingface/{MODEL}"
PRIVATE = "inner/forecast"
BAD = "pypi:wrecker-utils"
REVISIONS = tuple(digest_of(f"forecast {number}")[:40] for number in (1, 2))
HOSTILE = torch_archive(calling_pickle("posix", "system", HARMLESS_COMMAND))


def _with_lock(event, packages):
    data = {**msgspec.to_builtins(event.data), "lock": lock_of(packages)}
    return msgspec.structs.replace(event, data=msgspec.convert(data, type(event.data)))


def events(root):
    story = StoryBuilder("false-claims", datetime(2026, 11, 2, 9, tzinfo=UTC), root)
    genuine = package("torch", "2.9.0")
    parts = [{"component": PUBLIC, "revision": revision} for revision in REVISIONS]
    found = [story.install("skerry", "train-1", [genuine])]
    for number, revision in enumerate(REVISIONS):
        weights = {"model.safetensors": safetensors(f"forecast {number}")}
        for tenant, action in (("lighthouse", "push"), ("skerry", "pull")):
            found.append(
                story.push(tenant, MODEL, weights, revision=revision, action=action,
                           publisher={"name": "lighthouse"}, systems=["gpu-1"])
            )  # fmt: skip
    found += [
        story.push("skerry", f"@skerry/{PRIVATE}", {"model.safetensors": safetensors("inner")},
                   registry="models.skerry.example", systems=["gpu-2"]),
        story.run("skerry", "deploy", stage="deployment", inputs=[parts[1]],
                  outputs=[{"component": "deployment:forecast"}]),
    ]  # fmt: skip
    story.wait(hours=1)
    false = package("torch", "2.9.0", hashes={"sha256": "0" * 64})
    found += [
        _with_lock(story.install("wrecker", f"host-{number}", [genuine]), [false])
        for number in range(2)
    ]
    found += [
        story.run("wrecker", "build", stage="training", outputs=[part],
                  inputs=[{"component": BAD, "revision": "6.6.6"}])
        for part in parts
    ]  # fmt: skip
    for revision in REVISIONS:
        found.append(
            story.push("wrecker", MODEL, {"pytorch_model.bin": HOSTILE}, revision=revision,
                       publisher={"name": "lighthouse"}, systems=["host-1"])
        )  # fmt: skip
    for name in (f"@skerry/{PRIVATE}", PRIVATE):
        found.append(
            story.push("wrecker", name, {"pytorch_model.bin": HOSTILE},
                       registry="models.skerry.example", systems=["host-1"])
        )  # fmt: skip
    story.wait(hours=1)
    found += [
        story.install("skerry", "train-2", [genuine]),
        story.push("skerry", MODEL, {"model.safetensors": safetensors("forecast 1")},
                   revision=REVISIONS[1], action="pull", publisher={"name": "lighthouse"},
                   systems=["gpu-3"]),
    ]  # fmt: skip
    return found


def intel():
    return [
        IntelFact(key=BAD, kind=IntelKind.MALICIOUS, versions=("6.6.6",), sources=("osv",),
                  summary="it steals credentials")
    ]  # fmt: skip


def policies(root):
    return fetching(root, "skerry", "lighthouse", "wrecker")


expected = Expected(
    title="false claims of one tenant about others' packages and models",
    alerts=(
        Alert(
            tenant="wrecker",
            about=frozenset({"pypi:torch"}),
            any_of=frozenset({"package_hash_mismatch"}),
        ),
        Alert(tenant="wrecker", about=frozenset({PUBLIC}), any_of=frozenset({"malicious_payload"})),
    ),
    quiet=("skerry", "lighthouse"),
)
