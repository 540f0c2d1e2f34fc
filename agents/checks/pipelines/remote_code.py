"""Finds settings that let a run execute loaded content: remote code, unsafe loaders, branches."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from agents.checks.artifacts.formats.names import is_file_name
from agents.checks.artifacts.python.shell_commands import parts_of
from agents.checks.pipelines.configuration import Node
from agents.checks.pipelines.names import plain_name
from agents.checks.shell.command_risk import CommandRisk
from agents.checks.shell.script import commands_of
from schemas.severity import Severity

MAX_TEXT: Final = 65_536
"""Characters of a text that are searched at once."""
_TRUE: Final = frozenset({"true", "1", "yes", "on", "y"})
_FALSE: Final = frozenset({"false", "0", "no", "off", "n"})

REMOTE_CODE: Final = "TW-PIPE-REMOTE-CODE"
UNSAFE_LOADER: Final = "TW-PIPE-UNSAFE-LOADER"
REMOTE_SCRIPT: Final = "TW-PIPE-REMOTE-SCRIPT"
TLS_OFF: Final = "TW-PIPE-TLS-OFF"
UNPINNED: Final = "TW-PIPE-UNPINNED-MODEL"
UNPINNED_ACTION: Final = "TW-PIPE-UNPINNED-ACTION"

_SWITCHES: Final[dict[str, tuple[str, bool]]] = {
    "trust_remote_code": (REMOTE_CODE, True),
    "allow_remote_code": (REMOTE_CODE, True),
    "allow_pickle": (UNSAFE_LOADER, True),
    "weights_only": (UNSAFE_LOADER, False),
    "torch_force_no_weights_only_load": (UNSAFE_LOADER, True),
    "allow_dangerous_deserialization": (UNSAFE_LOADER, True),
    "enable_unsafe_deserialization": (UNSAFE_LOADER, True),
    "allow_unsafe_deserialization": (UNSAFE_LOADER, True),
    "safe_mode": (UNSAFE_LOADER, False),
    "verify_ssl": (TLS_OFF, False),
    "ssl_verify": (TLS_OFF, False),
    "verify_tls": (TLS_OFF, False),
    "tls_verify": (TLS_OFF, False),
    "insecure_skip_verify": (TLS_OFF, True),
    "insecure_skip_tls_verify": (TLS_OFF, True),
    "git_ssl_no_verify": (TLS_OFF, True),
    "curl_ssl_no_verify": (TLS_OFF, True),
}
"""Settings by name, and the unsafe value."""
_LOADERS: Final = re.compile(
    r"(?:^|[^\w.])(?:c?[Pp]ickle|cloudpickle|dill|joblib|marshal|shelve)(?:\.(?:loads?|Unpickler|open))?"
    r"$|^yaml\.(?:unsafe_load|full_load|Loader|UnsafeLoader|load)(?:_all)?$|^(?:Unsafe|C)Loader$"
)
_LOADER_KEYS: Final = re.compile(
    r"(?:^|_)(?:loader|load_fn|load_function|deserializer|serializer|serialization|unpickler|"
    r"yaml_loader|pickle_module|load_format|save_format|weights_format)(?:_|$)"
)
_SEVERITIES: Final = {
    CommandRisk.HOSTILE: Severity.CRITICAL,
    CommandRisk.UNKNOWN_SCRIPT: Severity.MEDIUM,
    CommandRisk.INSTALLER: Severity.LOW,
}
"""Severities of commands other than the rule's own."""
_NEGATED: Final = r"(?!\s*(?:=|\s)\s*['\"]?(?:[Ff]alse|0|no|off)\b)"
_TEXTS: Final[tuple[tuple[str, re.Pattern[str]], ...]] = tuple(
    (rule, re.compile(pattern))
    for rule, pattern in (
        (REMOTE_CODE, r"--trust[-_]remote[-_]code\b" + _NEGATED),
        (REMOTE_CODE, (r"\b(?:HF_\w{0,20})?(?:trust_remote_code|TRUST_REMOTE_CODE)"
            r"\s*=\s*(?:[Tt]rue|TRUE|1)\b")),
        (UNSAFE_LOADER, r"\bweights_only\s*=\s*False\b"),
        (UNSAFE_LOADER, r"\ballow_pickle\s*=\s*True\b"),
        (UNSAFE_LOADER, r"\ballow_dangerous_deserialization\s*=\s*True\b"),
        (UNSAFE_LOADER, r"\bTORCH_FORCE_NO_WEIGHTS_ONLY_LOAD\s*=\s*(?:1|[Tt]rue)\b"),
        (UNSAFE_LOADER, r"\b(?:c?[Pp]ickle|cloudpickle|dill|_pickle)\.(?:loads?|Unpickler)\s*\("),
        (UNSAFE_LOADER, r"\b(?:joblib|marshal)\.loads?\s*\("),
        (UNSAFE_LOADER, r"\byaml\.(?:unsafe_load|full_load)(?:_all)?\s*\("),
        (UNSAFE_LOADER, r"\byaml\.load(?:_all)?\s*\((?![^)]{0,200}(?:Safe|Base)Loader)"),
        (UNSAFE_LOADER, r"\bLoader\s*=\s*(?:yaml\.)?(?:Unsafe|C|Full)?Loader\b"),
        (UNSAFE_LOADER, r"\bkeras\.\w[\w.]{0,60}load_model\s*\([^)]{0,200}safe_mode\s*=\s*False"),
        (TLS_OFF, r"--(?:no-check-certificate|trusted-host(?![\s=]+\w+://)|insecure-skip-tls-verify)\b"),
        (TLS_OFF, r"\bcurl\s(?:[^|;&\n]{0,200}\s)?(?:-k|--insecure)\b"),
        (TLS_OFF, r"\b(?:verify|verify_ssl|ssl_verify)\s*=\s*False\b"),
        (TLS_OFF, r"\bGIT_SSL_NO_VERIFY\s*=\s*(?:1|true)\b"),
        (TLS_OFF, r"\bPYTHONHTTPSVERIFY\s*=\s*0\b"),
    )
)  # fmt: skip
"""Signs of a loader in a command line, a script or an environment."""
_MODEL_KEYS: Final = re.compile(
    r"^(?:base_?)?model(?:_name|_id|_name_or_path|_path|_repo|_uri)?$|^pretrained(?:_model)?"
    r"(?:_name_or_path|_name|_path)?$|^(?:teacher|student|draft|reward|embedding|adapter|tokenizer)"
    r"(?:_model)?(?:_name|_id|_name_or_path)?$|^hf_(?:model|repo)(?:_id)?$|^hub_(?:model|repo)$|^repo_id$"
)
_HUB_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_HUB_URI: Final = re.compile(
    r"(?:hf://(?:models/)?|https://huggingface\.co/)"
    r"(?P<name>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?:@(?P<revision>[\w./-]{1,100}))?/?"
)
_LOCAL: Final = frozenset(
    {"models", "model", "checkpoints", "checkpoint", "outputs", "output", "data", "weights", "tmp",
     "mnt", "opt", "artifacts", "runs", "cache", "home", "workspace", "app", "var", "root",
     "dataset", "datasets", "corpus", "corpora"}
)  # fmt: skip
REVISION_KEYS: Final = (
    "revision",
    "commit",
    "commit_hash",
    "sha",
    "model_revision",
    "revision_of_model",
    "code_revision",
)
_COMMIT: Final = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64}|sha256:[0-9a-f]{64})")


_MODEL_ARGUMENT: Final = re.compile(
    r"(?:--(?:model(?:[-_](?:id|name[-_]or[-_]path|path))?|pretrained[-_]model[-_]name[-_]or[-_]path"
    r"|base[-_]model|tokenizer)(?:\s+|=)|\bvllm\s+serve\s+)[\"']?(?P<name>[^\s\"']{3,200})"
)
_REVISION_ARGUMENT: Final = re.compile(
    r"--(?:model[-_]|code[-_])?revision(?:\s+|=)[\"']?(?P<revision>[^\s\"']{1,200})"
)


_ACTION: Final = re.compile(
    r"(?P<owner>[A-Za-z0-9][\w-]{0,38})/[\w.-]{1,100}(?:/[\w./-]{1,200})?@(?P<ref>[^\s@]{1,250})"
)
"""An action or a reusable workflow of another repository of GitHub."""
_OWN_ACTIONS: Final = frozenset(("actions", "github"))
"""Owners whose actions belong to the service that runs them."""


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """A setting that a rule matched."""

    rule_id: str
    path: str
    shown: str
    """The setting, at most 120 characters."""
    model: str | None = None
    """The hub model it names."""
    revision: str | None = None
    severity: Severity | None = None
    """None: its rule's."""


def truth(value: Any) -> bool | None:  # noqa: ANN401 -- any JSON scalar
    """Return a setting's value as a switch; None if it is not one."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return bool(value) if value in {0, 1} else None
    if isinstance(value, str):
        text = value.strip().lower()
        if text in _TRUE:
            return True
        if text in _FALSE:
            return False
    return None


def pinned(revision: str | None) -> bool:
    """Return whether a model's revision is a commit or digest: a branch or tag moves."""
    return revision is not None and _COMMIT.fullmatch(revision.strip().lower()) is not None


def settings_of(node: Node) -> Iterator[Setting]:
    """Yield the unsafe settings of one value of a configuration.

    Args:
        node: The value; an object is read for its named settings, a list of strings as one
            command line.
    """
    value = node.value
    if isinstance(value, dict):
        yield from _named(node, value)
    elif isinstance(value, list):
        words = [item for item in value if isinstance(item, str)]
        if words:
            yield from _in_texts(node.path, " ".join(words))
    elif isinstance(value, str) and not node.path.endswith("]"):
        yield from _in_texts(node.path, value)


def _in_texts(path: str, text: str) -> Iterator[Setting]:
    """Yield the settings in a text of any length, each rule's once."""
    if len(text) <= MAX_TEXT:
        yield from _in_text(path, text)
        return
    found = (setting for part in parts_of(text, MAX_TEXT) for setting in _in_text(path, part))
    yield from {(setting.rule_id, setting.model): setting for setting in found}.values()


def _named(node: Node, members: dict[str, Any]) -> Iterator[Setting]:
    pairs = list(members.items())
    # Kubernetes, Tekton and Argo write parameters and variables as {"name": ..., "value": ...}.
    if isinstance(name := members.get("name"), str) and "value" in members:
        pairs.append((name, members["value"]))
    for key, value in pairs:
        plain = plain_name(key)
        path = f"{node.path}.{key}" if node.path else key
        switch = _SWITCHES.get(plain) or _by_ending(plain)
        if switch is not None and truth(value) is switch[1]:
            yield Setting(rule_id=switch[0], path=path, shown=f"{plain}: {str(value)[:40]}")
        if not isinstance(value, str):
            continue
        if _LOADER_KEYS.search(plain) and _LOADERS.search(value.strip()[:200]):
            yield Setting(rule_id=UNSAFE_LOADER, path=path, shown=f"{plain}: {value[:100]}")
        if _MODEL_KEYS.search(plain):
            yield from _model(path, value.strip(), members)
        if plain == "uses" and is_moving_action(value.strip()):
            yield Setting(rule_id=UNPINNED_ACTION, path=path, shown=value.strip()[:120])


def is_moving_action(value: str) -> bool:
    """Return whether a step's `uses` names a third party's action by a branch or tag.

    Source: GitHub Actions, workflow syntax, `jobs.<job_id>.steps[*].uses`.
    """
    match = _ACTION.fullmatch(value)
    if match is None or match["owner"].lower() in _OWN_ACTIONS:
        return False
    return not pinned(match["ref"])


def is_hub_name(value: str) -> bool:
    """Return whether a text names a repository of the hub, rather than a file or folder."""
    return (
        _HUB_NAME.fullmatch(value) is not None
        and not is_file_name(value)
        and value.partition("/")[0].lower() not in _LOCAL
    )


def _by_ending(plain: str) -> tuple[str, bool] | None:
    """Return the setting that an environment variable, such as HF_TRUST_REMOTE_CODE, controls."""
    return (REMOTE_CODE, True) if plain.endswith("_trust_remote_code") else None


def _model(path: str, value: str, siblings: dict[str, Any]) -> Iterator[Setting]:
    match = _HUB_URI.fullmatch(value)
    if match is not None:
        name, revision = match["name"], match["revision"]
    elif is_hub_name(value):
        name, revision = value, None
    else:
        return
    if revision is None:
        found = (siblings.get(key) for key in REVISION_KEYS)
        revision = next((item for item in found if isinstance(item, str) and item), None)
    if not pinned(revision):
        shown = f"{name}@{revision}" if revision else name
        yield Setting(rule_id=UNPINNED, path=path, shown=shown[:120], model=name, revision=revision)


def _in_text(path: str, text: str) -> Iterator[Setting]:
    seen: set[str] = set()
    risk = max((command.risk for command in commands_of(text)), default=CommandRisk.NONE)
    if risk is not CommandRisk.NONE:
        grave = risk >= CommandRisk.REPLACEABLE_SCRIPT
        seen.add(UNSAFE_LOADER)  # the same cause, described in more detail here
        yield Setting(
            rule_id=REMOTE_SCRIPT if grave else UNSAFE_LOADER,
            path=path,
            shown=text[:120],
            severity=_SEVERITIES.get(risk),
        )
    if "--" in text or "vllm serve" in text:
        yield from _model_arguments(path, text)
    for rule_id, pattern in _TEXTS:
        match = pattern.search(text)
        if match is not None and rule_id not in seen:
            seen.add(rule_id)
            yield Setting(rule_id=rule_id, path=path, shown=match[0][:120])


def _model_arguments(path: str, text: str) -> Iterator[Setting]:
    """Yield the models that a command line loads by a mutable revision."""
    for match in _MODEL_ARGUMENT.finditer(text):
        revision = _REVISION_ARGUMENT.search(text, match.end())
        given = {"revision": revision["revision"]} if revision else {}
        yield from _model(path, match["name"], given)
