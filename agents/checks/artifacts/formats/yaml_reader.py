"""Reads YAML by its node graph, never constructing objects: tags, Hydra targets, code."""
# ruff: noqa: PLR2004 -- sizes and offsets are given where the format is read

from __future__ import annotations

import re
from typing import Any, Final

import yaml

from agents.checks.artifacts.formats.keras import is_keras, report_keras
from agents.checks.artifacts.formats.named_calls import (
    RUN_KEYS,
    report_named_calls,
    report_stray_template,
    report_tag,
)
from agents.checks.artifacts.formats.plain_text import is_binary
from agents.checks.artifacts.formats.repository import TEMPLATE_KEYS, report_repository
from agents.checks.artifacts.formats.requirements import report_requirement
from agents.checks.artifacts.formats.targets import (
    about,
    judge_size,
    leaves,
    report_tree_targets,
)
from agents.checks.artifacts.formats.templates import filled_by_helm, has_action
from agents.checks.artifacts.python.shell_commands import (
    is_hostile_command,
)
from agents.checks.artifacts.readers.embedded import report_command, report_text
from agents.checks.artifacts.readers.window import decode_text, read_document
from agents.checks.artifacts.scanning import BudgetExceededError, CorruptFileError, Scan, Source
from agents.checks.shell.risk import risk_of_setting
from schemas.severity import Severity

MAX_YAML: Final = 8 << 20
MAX_EVENTS: Final = 500_000
MAX_DEPTH: Final = 200
MAX_ALIASES: Final = 1_000
PYTHON_TAG: Final = re.compile(
    r"python/|^!?!?(ruby|javax?|sun|com|org|php|js|exec|eval|call|new|import)([./:]|$)",
    re.IGNORECASE,
)
_HARMLESS_TAG: Final = re.compile(
    r"python/(tuple|none|bool|str|unicode|int|long|float|complex|list|dict|bytes)$"
)
_DATA_TAG: Final = re.compile(
    r"python/(object(/apply|/new)?|name):"
    r"(?P<name>collections\.(OrderedDict|defaultdict|Counter|deque)|argparse\.Namespace|builtins\.\w+"
    r"|pathlib(\._local)?\.(PurePosixPath|PosixPath|WindowsPath|PureWindowsPath|Path)"
    r"|(lightning|pytorch_lightning|lightning_fabric|omegaconf)(\.\w+)*\.(AttributeDict|DictConfig|ListConfig)"
    r"|(lightning|pytorch_lightning|lightning_fabric)(\.\w+)*\.(cli\.)?Namespace|jsonargparse(\._?\w+)*\.Namespace"
    r"|numpy\.(_?core\.multiarray\.scalar|dtype|ndarray|(float|int|uint)\d+)|torch\.(device|dtype|Size|float\d+|bfloat16)"
    r"|datetime\.(date|datetime|timedelta)|decimal\.Decimal|uuid\.UUID|easydict\.EasyDict|types\.SimpleNamespace)$"
)
"""Tags of plain data that training frameworks write beside their checkpoints."""
_BUILTIN_DATA: Final = frozenset(
    ("bool", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "set", "slice",
     "str", "tuple")
)  # fmt: skip
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The C parser if available; input nested too deep never reaches its composer."""
_STANDARD: Final = "tag:yaml.org,2002:"
_LOADED: Final = re.compile(r"config|hparams|params|model|overrides|mlmodel|mlproject|^dvc\.yaml$")
"""Names of documents that a loader reads; others are for people and pipelines."""
_ENVIRONMENT: Final = re.compile(r"^(conda|environment|python_env|env)[\w.-]*\.ya?ml$")
_RUN_BY_TOOLS: Final = re.compile(
    r"(^|/)\.github/|(^|/)\.gitlab-ci|(^|/)(docker-)?compose[\w.-]*\.ya?ml$|(^|/)bentofile\.ya?ml$"
    r"|(^|/)(azure-pipelines|action|\.travis|\.pre-commit-config)\.ya?ml$|(^|/)\.circleci/"
)
"""Documents whose commands servers and tools run automatically."""
_EVENTFUL: Final = ("!", "*", "${", "\\")
_STRUCTURE: Final = ("[", "{", "-", ":", "?")
_MANY: Final = re.compile(r"(\*\w+\s*,\s*){3}|(-\s*\*\w+\s*){3}")
_INTERPOLATION: Final = re.compile(
    r"\$\{(oc\.(env|decode)|eval|python|cmd|shell|exec)\s*:([^}]*)\}"
)
_PLAIN: Final = re.compile(r"^(---|%YAML|[\w.\"'-]+\s*:(\s|$)|- )", re.MULTILINE)


def parse(scan: Scan, name: str, source: Source) -> None:
    """Report tags that construct objects and targets that a loader calls.

    Raises:
        CorruptFileError: not YAML.
        BudgetExceededError: too large or too deep.

    Source: CVE-2025-23304, CVE-2025-23249; PyYAML's `!!python` tags.
    """
    raw = read_document(scan, source)
    if is_binary(raw[:4096]):
        raise CorruptFileError("not YAML: it is not text")
    report_yaml(scan, decode_text(raw), name)


def report_yaml(scan: Scan, text: str, name: str) -> None:
    """Judge a YAML text.

    Args:
        scan: Where to report.
        text: YAML, of one document or several.
        name: The file's name.

    Raises:
        CorruptFileError: not YAML.
        BudgetExceededError: too large or too deep.
    """
    if len(text) > MAX_YAML:
        raise BudgetExceededError(f"YAML of more than {MAX_YAML} characters")
    base = name.lower().rsplit("/", 1)[-1]
    severity = None if _LOADED.search(base) else Severity.LOW
    run_by_tools = _RUN_BY_TOOLS.search(name.lower()) is not None
    try:
        documents = yaml.load_all(text, Loader=_PlainLoader)
        if is_plain(text):
            scan.budget.step(len(text) // 8)
            documents = iter(list(documents))  # nothing is judged of a text that is not YAML
        else:
            _judge_events(scan, text)
        for document in documents:
            report_tree_targets(scan, document)
            report_repository(scan, base, document)
            report_named_calls(scan, document)
            if is_keras(document):
                report_keras(scan, document)
            for path, key, value in leaves(scan, document, _place, texts_alone=True):
                if isinstance(value, str) and len(value) > 8:
                    run = run_by_tools or key in RUN_KEYS
                    risk = risk_of_setting(path, value, run=run)
                    if not report_command(scan, path, value, risk):
                        report_text(scan, path or "text", value, severity)
                    _judge_project(scan, base, path, key, value)
                    if key not in TEMPLATE_KEYS:
                        report_stray_template(scan, base, path or "text", value)
            if "*" in text:  # without aliases, all values were counted above
                judge_size(scan, document)
        if (line := filled_by_helm(text)) is not None:
            scan.mark_unsupported(
                f"line {line}: Helm fills in values that were not seen; scan what it renders"
            )
    except yaml.YAMLError as error:
        report_text(scan, "text", text)
        if has_action(text):
            scan.mark_unsupported(
                "a template of YAML: it was searched as text; scan what it is rendered to"
            )
            return
        raise CorruptFileError(f"not YAML: {str(error)[:200]}") from error
    except BudgetExceededError:
        if _MANY.search(text):
            scan.report(
                "TW-MODEL-YAML-ALIASES",
                "aliases of aliases make the document too large to read",
                severity=Severity.CRITICAL,
                key="*",
            )
        raise
    except RecursionError as error:
        raise BudgetExceededError("YAML nested too deep") from error
    except (ValueError, TypeError) as error:
        raise CorruptFileError(f"not YAML: {str(error)[:200]}") from error


def is_plain(text: str) -> bool:
    """Return whether no event of a text needs judging, as for most short texts.

    No tags, aliases and interpolations, nor an escape that writes one; and fewer marks of
    structure than levels are allowed, since each level has one.
    """
    return (
        len(text) < MAX_EVENTS // 2
        and not any(mark in text for mark in _EVENTFUL)
        and sum(map(text.count, _STRUCTURE)) < MAX_DEPTH
    )


def _place(path: str, key: str) -> tuple[bool, str]:
    """Return the meaning of a location to the reader."""
    return "dependencies" in path, key if key in RUN_KEYS else ""


def _judge_project(scan: Scan, base: str, path: str, key: str, value: str) -> None:
    """Report commands that a project's loader runs, and packages that it installs."""
    if base == "mlproject" and key == "command" and is_hostile_command(value):
        scan.report("TW-MODEL-METADATA-CODE", f"{path} runs {value[:80]!r}", key=path[:200])
    elif "dependencies" in path and _ENVIRONMENT.search(base):
        report_requirement(scan, value, 0)


def _judge_events(scan: Scan, text: str) -> None:
    depth = aliases = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Events)):
        scan.budget.step(1)
        if count > MAX_EVENTS:
            raise BudgetExceededError(f"YAML of more than {MAX_EVENTS} nodes")
        if isinstance(event, yaml.ScalarEvent) and event.tag is None and "${" not in event.value:
            continue  # as most are
        if isinstance(event, yaml.AliasEvent):
            aliases += 1
            if aliases > MAX_ALIASES:
                scan.report("TW-MODEL-YAML-ALIASES", "more aliases than a person writes", key="*")
                raise BudgetExceededError(f"YAML of more than {MAX_ALIASES} aliases")
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise BudgetExceededError(f"YAML nested deeper than {MAX_DEPTH}")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        tag = getattr(event, "tag", None)
        if tag and report_tag(scan, tag, _line(event)):
            pass
        elif tag and PYTHON_TAG.search(tag.removeprefix(_STANDARD)):
            short = tag.removeprefix(_STANDARD)
            if not (_HARMLESS_TAG.search(short) or _is_data(short)):
                scan.report(
                    "TW-MODEL-YAML-TAG",
                    f"a tag constructs {short[:120]}",
                    line=_line(event),
                    **about(short[:200]),
                )
        if isinstance(event, yaml.ScalarEvent):
            _judge_interpolations(scan, event)


def _judge_interpolations(scan: Scan, event: yaml.ScalarEvent) -> None:
    for match in _INTERPOLATION.finditer(event.value):
        if match.group(1) not in ("oc.env", "oc.decode"):
            scan.report(
                "TW-MODEL-YAML-RESOLVER",
                f"a value is computed by {match.group()[:80]!r}",
                line=_line(event),
            )


def _is_data(tag: str) -> bool:
    """Return whether a tag makes an object that holds data and runs nothing."""
    match = _DATA_TAG.search(tag)
    name = match.group("name") if match else ""
    return bool(name) and (not name.startswith("builtins.") or name[9:] in _BUILTIN_DATA)


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 0


class _Events(_Base):  # type: ignore[misc]  # chosen at run time
    """The plain parser; it is only asked for its events."""


class _PlainLoader(_Base):  # type: ignore[misc]  # chosen at run time
    """Reads every node as text, list or mapping; no tag constructs anything."""


def _construct(loader: Any, suffix: str, node: yaml.Node) -> Any:  # noqa: ANN401 -- PyYAML's own
    del suffix
    if isinstance(node, yaml.MappingNode):
        return {
            str(getattr(key, "value", ""))[:1000]: loader.construct_object(value, deep=True)
            for key, value in node.value
            if not isinstance(getattr(key, "value", ""), list)
        }
    if isinstance(node, yaml.SequenceNode):
        return [loader.construct_object(value, deep=True) for value in node.value]
    return node.value


for _tag in ("map", "omap", "pairs", "set", "seq", "timestamp", "binary", "value"):
    _PlainLoader.add_constructor(
        f"{_STANDARD}{_tag}", lambda loader, node: _construct(loader, "", node)
    )
_PlainLoader.add_multi_constructor("", _construct)
_PlainLoader.add_constructor(None, lambda loader, node: _construct(loader, "", node))
