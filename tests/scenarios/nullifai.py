"""nullifAI, February 2025: PyTorch files packed with 7z, their pickle broken after the payload.

Scanners gave up at the unknown container or at the broken stream; a loader runs the payload first.
Source: ReversingLabs, 2025-02-06.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime

import py7zr

from streams.demo.files import HARMLESS_COMMAND, calling_pickle
from streams.demo.story_builder import StoryBuilder
from tests.scenarios.expectation import Alert, Expected, fetching

MODELS = ("glockr1/ballr7", "who-r-u0000/0000000000000000000000000000000000000")
_STAMP = 1_767_225_600


def _packed(root, pickle):
    """Return a 7z archive of `data.pkl`, of a fixed time: the same bytes each time."""
    folder = root / "nullifai"
    folder.mkdir(parents=True, exist_ok=True)
    member, archive = folder / "data.pkl", folder / "model.7z"
    member.write_bytes(pickle)
    member.chmod(0o644)
    os.utime(member, (_STAMP, _STAMP))
    with py7zr.SevenZipFile(archive, "w") as opened:
        opened.write(member, "archive/data.pkl")
    return archive.read_bytes()


def events(root):
    story = StoryBuilder("nullifai", datetime(2026, 11, 5, 10, tzinfo=UTC), root)
    pickle = calling_pickle("builtins", "exec", f"import os\nos.system({HARMLESS_COMMAND!r})",
                            broken=True)  # fmt: skip
    contents = {"pytorch_model.bin": _packed(root, pickle)}
    return [
        story.push(
            tenant,
            model,
            contents,
            action=action,
            publisher={"name": model.partition("/")[0], "auth": "token"},
            systems=["gpu-1"],
        )
        for tenant, model, action in (
            ("agency", MODELS[0], "push"),
            ("agency", MODELS[1], "push"),
            ("museum", MODELS[0], "pull"),
        )
    ]


def intel():
    return []


def policies(root):
    return fetching(root, "agency", "museum")


expected = Expected(
    title="nullifAI (broken pickle in 7z, February 2025)",
    alerts=tuple(
        Alert(
            tenant=tenant,
            about=frozenset(f"model:huggingface/{model}" for model in MODELS),
            any_of=frozenset({"malicious_payload"}),
        )
        for tenant in ("agency", "museum")
    ),
)
