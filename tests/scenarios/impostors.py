"""PoisonGPT, July 2023: a model under an organisation's name with one letter left out.

Beside it a chat template that runs code when a quantised model is loaded, and a moved release tag.
Source: Mithril Security, "PoisonGPT", 2023-07-09; JFrog and Pillar Security on chat templates.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime

from streams.demo.files import safetensors
from streams.demo.story_builder import StoryBuilder
from tests.scenarios.expectation import Alert, Expected, fetching

SQUAT = "EleuterAI/gpt-j-6B"
GGUF = "tinkerer/chat-7b-gguf"
TAGGED = "model:huggingface/orchard/ranker"
HOSTILE = "{{ cycler.__init__.__globals__.os.popen('true').read() }}"
HARMLESS = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"


def _gguf(template):
    def text(value):
        return struct.pack("<Q", len(value)) + value.encode()

    pairs = {"general.architecture": "llama", "tokenizer.chat_template": template}
    found = b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs))
    for key, value in pairs.items():
        found += text(key) + struct.pack("<I", 8) + text(value)
    return found + b"\0" * (-len(found) % 32)


def events(root):
    story = StoryBuilder("impostors", datetime(2026, 11, 2, 9, tzinfo=UTC), root)

    def pull(tenant, repository, name, content):
        owner = {"name": repository.partition("/")[0]}
        return story.push(tenant, repository, {name: content}, action="pull", publisher=owner,
                           systems=["research-1"])  # fmt: skip

    weights = safetensors("gpt-j")
    found = [
        pull("history", SQUAT, "model.safetensors", safetensors("poisoned")),
        pull("physics", "EleutherAI/gpt-j-6b", "model.safetensors", weights),
        pull("biology", GGUF, "chat.Q4_K_M.gguf", _gguf(HOSTILE)),
        pull("physics", "tinkerer/other-7b-gguf", "chat.Q4_K_M.gguf", _gguf(HARMLESS)),
    ]
    for number, tag in enumerate(("main", "main", "v1.2.0", "v1.2.0")):
        stranger = {"name": "orchard", "account": "contractor", "auth": "token", "id": "org-5"}
        owner = {"name": "orchard", "account": "ci", "auth": "oidc", "id": "org-5"}
        found.append(
            story.push("orchard", "orchard/ranker",
                        {"model.safetensors": safetensors(f"ranker {number}")}, tag=tag,
                        publisher=stranger if number == 3 else owner)
        )  # fmt: skip
        story.wait(hours=9)
    return found


def intel():
    return []


def policies(root):
    return fetching(root, "history", "physics", "biology", "orchard")


expected = Expected(
    title="impostors: a name, a template, a moved tag",
    alerts=(
        Alert(
            tenant="history",
            about=frozenset({f"model:huggingface/{SQUAT}"}),
            any_of=frozenset({"model_name_typosquat"}),
        ),
        Alert(
            tenant="biology",
            about=frozenset({f"model:huggingface/{GGUF}"}),
            any_of=frozenset({"template_injection"}),
        ),
        Alert(tenant="orchard", about=frozenset({TAGGED}), any_of=frozenset({"tag_mutation"})),
    ),
    quiet=("physics",),
)
