"""Judges what a configuration names under a library's own keys: classes, commands, code, nodes."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from typing import Any, Final

from agents.checks.artifacts.formats.targets import (
    NameTrust,
    about,
    handed_on,
    mappings,
    name_trust,
    report_loaded_code,
    report_target,
    texts,
)
from agents.checks.artifacts.formats.templates import is_escape, report_template
from agents.checks.artifacts.python.calls import OPEN_FOLDER
from agents.checks.artifacts.python.shell_commands import is_hostile_command
from agents.checks.artifacts.readers.embedded import report_text
from agents.checks.artifacts.readers.paths import escapes, is_remote
from agents.checks.artifacts.scanning import Scan
from schemas.severity import Severity

MAX_CODE: Final = 1 << 16
"""Characters of one value that are read as code."""
RUN_KEYS: Final = frozenset(
    ("run", "setup", "script", "before_script", "command", "cmd", "entrypoint", "args",
     "bash_command", "postCreateCommand", "startup_script", "user_data",
     "on_start", "setup_commands", "initialization_commands", "head_setup_commands",
     "worker_setup_commands", "exec", "shell", "runcmd", "bootcmd", "cmds", "commands",
     "install_command", "test_command", "docker_run_command",
     "entry", "pre", "post", "preinstall", "postinstall")
)  # fmt: skip
"""Keys whose value a program runs: SkyPilot, Ray's cluster files, Ansible, cloud-init."""
_CLASSES: Final = frozenset(
    ("class", "cls", "class_path", "tokenizer_class", "activation_function", "processor_class",
     "image_processor_class", "feature_extractor_class", "model_class", "import_path")
)  # fmt: skip
"""Keys whose value a loader imports: LeRobot's steps, sentence-transformers, jsonargparse."""
_NAMES: Final = frozenset(
    ("type", "name", "fn", "func", "function", "callable", "factory", "builder", "hook",
     "callback", "handler", "impl", "loader", "object", "op", "component", "class_name")
)  # fmt: skip
"""Keys whose value a loader imports if arguments accompany it: pyannote, Haystack, MMEngine."""
_PLUGINS: Final = frozenset(
    ("user_dir", "tool_parser_plugin", "reasoning_parser_plugin", "plugin_dir", "plugin_dirs",
     "custom_module_path", "user_module_path", "include_package")
)  # fmt: skip
"""Keys whose value a loader imports as a file or folder of code: fairseq, vLLM, AllenNLP."""
_PICKLED: Final = frozenset(("py/function", "py/type", "py/object", "py/class", "py/repr"))
"""Keys by which jsonpickle names what it imports. Source: its `tags` module."""
_JUDGED: Final = _CLASSES | _NAMES | _PICKLED
_INCLUDED: Final = frozenset(("__include__", "_base_", "_BASE_", "_include_"))
"""Keys whose value is a configuration of the same project: of MMEngine, Detectron2, D-FINE."""
MAX_UPWARDS: Final = 3
"""The most folders that such a path goes up within the project."""
_ARGUMENTS: Final = frozenset(
    ("params", "kwargs", "args", "arguments", "config", "init_args", "init_kwargs",
     "init_parameters", "parameters", "options", "command", "dict_kwargs", "inputs")
)  # fmt: skip
_SHELLS: Final = frozenset(
    ("ShellTool", "BashProcess", "PythonREPL", "PythonREPLTool", "PythonAstREPLTool", "PALChain",
     "PythonAstREPL", "LLMBashChain")
)  # fmt: skip
"""Classes of LangChain that run a model's output."""
_CODE_NODE: Final = re.compile(r"(?i)eval|exec|python|script|shell|bash|command|subprocess|code")
_PROMPTS: Final = re.compile(r"prompt|template|chain|agent|config")
"""Names of documents whose texts a library renders."""
HYPER_TAG: Final = re.compile(
    r"^!(?P<kind>new|name|apply|applyref|module|include):(?P<name>[A-Za-z_~/.][\w.:~/-]*)$"
)
"""Tags of HyperPyYAML, which SpeechBrain reads. Source: its `core` module."""


def report_named_calls(scan: Scan, document: object) -> None:
    """Report what a document makes a loader import, run or fetch under a library's own keys.

    Args:
        scan: Where to report.
        document: The document.

    Source: reports on LeRobot, pyannote, Haystack, PEFT, sentence-transformers, Ultralytics,
        LangChain, ComfyUI and MXNet of 2025 and 2026.
    """
    for path, mapping in mappings(scan, document):
        prefix = f"{path}." if path else ""
        _judge_names(scan, prefix, mapping)
        if mapping.get("lc") == 1:
            _judge_constructor(scan, prefix, mapping)
        _judge_plugins(scan, prefix, mapping)
        if mapping.get("op") == "Custom" and isinstance(mapping.get("inputs"), list):
            kind = mapping.get("attrs") or mapping.get("param") or {}
            report_target(scan, f"{prefix}op", f"Custom.{_short(kind)}")
    if isinstance(document, dict):
        _judge_download(scan, document)
        for where, kind, given in _nodes(document):
            _judge_node(scan, where, kind, given)


def report_stray_template(scan: Scan, base: str, path: str, text: str) -> None:
    """Report a template that leaves its sandbox, under any key.

    Args:
        scan: Where to report.
        base: The file's own name, lower case.
        path: The location of the text.
        text: The text.
    """
    if ("{{" in text or "{%" in text) and _PROMPTS.search(base) and is_escape(text):
        report_template(scan, text, path[:200])


def report_tag(scan: Scan, tag: str, line: int) -> bool:
    """Judge a tag of HyperPyYAML, and return whether it is one.

    Args:
        scan: Where to report.
        tag: As written in the document.
        line: Its line.
    """
    match = HYPER_TAG.match(tag)
    if match is None:
        return False
    name = match["name"]
    if match["kind"] == "include":
        if escapes(name):
            scan.report(
                "TW-MODEL-PATH-ESCAPES", f"it includes {name[:120]!r}", key="!include", name=name
            )
    elif name_trust(name) is NameTrust.DANGEROUS:
        scan.report("TW-MODEL-YAML-TAG", f"a tag constructs {tag[:120]}", line=line, **about(tag))
    else:
        report_target(scan, f"!{match['kind']}", name)
    return True


def _short(kind: object) -> str:
    named = kind.get("op_type") if isinstance(kind, dict) else None
    return str(named or "operator")[:80]


def _judge_names(scan: Scan, prefix: str, mapping: dict[Any, Any]) -> None:
    if _JUDGED.isdisjoint(mapping):
        return
    called = not _ARGUMENTS.isdisjoint(mapping) and any(
        isinstance(mapping.get(key), dict | list | str) for key in _ARGUMENTS
    )
    schema = isinstance(mapping.get("parameters"), dict) and "properties" in mapping["parameters"]
    keys = _CLASSES | _NAMES if called and not schema else _CLASSES
    for key in sorted(_PICKLED & mapping.keys()):
        value = mapping[key]
        name = value.rpartition("/")[2] if isinstance(value, str) else ""
        if name and name_trust(name) is NameTrust.DANGEROUS:
            scan.report(
                "TW-MODEL-TARGET-DANGEROUS",
                f"{prefix}{key} makes jsonpickle import {name[:120]}",
                key=f"{prefix}{key}"[:200],
                **about(name),
            )
    for key in sorted(keys & mapping.keys()):
        value = mapping[key]
        if isinstance(value, str) and handed_on().match(value):
            scan.report(
                "TW-MODEL-TARGET-DANGEROUS",
                f"{prefix}{key} makes its loader call {value[:120]}",
                key=f"{prefix}{key}"[:200],
                **about(value),
            )


def _judge_plugins(scan: Scan, prefix: str, mapping: dict[Any, Any]) -> None:
    """Report code in files and folders that a loader imports by their path."""
    for key in sorted(_PLUGINS & mapping.keys()):
        for path in filter(None, texts(mapping[key])):
            place = f"{prefix}{key}"[:200]
            if escapes(path):
                anyone = is_remote(path) or ".." in path or OPEN_FOLDER.match(path)
                scan.report(
                    "TW-MODEL-REMOTE-CODE-ESCAPES",
                    f"{place} makes its loader import {path[:120]!r}",
                    severity=None if anyone else Severity.HIGH,
                    key=place,
                    name=path[:200],
                )
                continue
            inner = f"/{path.strip('./')}"
            here = any(f"/{sibling}".find(inner) >= 0 for sibling in scan.siblings)
            what = f"{place} makes its loader import {path[:120]!r}"
            report_loaded_code(scan, place, what, path, here=here)
    if "framework" in mapping:  # ModelScope installs and imports what it names
        for plugin in texts(mapping.get("plugins")):
            scan.report(
                "TW-MODEL-REMOTE-CODE-ESCAPES"
                if escapes(plugin)
                else "TW-MODEL-REMOTE-CODE-UNSEEN",
                f"{prefix}plugins makes its loader install {plugin[:120]!r}",
                key=f"{prefix}plugins"[:200],
                name=plugin[:200],
            )
    for key in sorted(_INCLUDED & mapping.keys()):
        for path in texts(mapping[key]):
            if is_remote(path) or path.startswith(("/", "~")) or path.count("..") > MAX_UPWARDS:
                scan.report(
                    "TW-MODEL-PATH-ESCAPES",
                    f"{prefix}{key} includes {path[:120]!r}",
                    key=f"{prefix}{key}"[:200],
                    name=path[:200],
                )
    imported = mapping.get("custom_imports")
    for name in texts(imported.get("imports")) if isinstance(imported, dict) else ():
        if name_trust(name) is NameTrust.DANGEROUS:
            report_target(scan, f"{prefix}custom_imports", name)


def _judge_constructor(scan: Scan, prefix: str, mapping: dict[Any, Any]) -> None:
    """Report an object that LangChain's loader builds and that runs commands or code."""
    parts = [text for text in texts(mapping.get("id")) if text]
    name = ".".join(parts)
    runs = bool(parts) and parts[-1] in _SHELLS
    if mapping.get("type") == "constructor" and (
        runs or name_trust(name, ("langchain",)) is NameTrust.DANGEROUS
    ):
        scan.report(
            "TW-MODEL-TARGET-DANGEROUS",
            f"{prefix}id makes its loader build {name[:120]}",
            severity=Severity.HIGH if runs else None,
            key=f"{prefix}id"[:200],
            **about(name),
        )


def _judge_download(scan: Scan, document: dict[Any, Any]) -> None:
    """Report the command or the program by which Ultralytics fetches a data set."""
    text = document.get("download")
    if not isinstance(text, str) or "names" not in document:
        return
    if text.startswith("bash "):
        if is_hostile_command(text):
            scan.report("TW-MODEL-METADATA-CODE", f"download runs {text[:80]!r}", key="download")
    elif not text.startswith(("http://", "https://")):
        report_code(scan, "download", text)


def _nodes(document: dict[Any, Any]) -> Iterator[tuple[str, str, object]]:
    """Yield location, kind and inputs of the nodes of a ComfyUI workflow, in both forms."""
    listed = document.get("nodes")
    for index, node in enumerate(listed if isinstance(listed, list) else ()):
        if isinstance(node, dict) and isinstance(node.get("type"), str):
            yield f"nodes[{index}]", node["type"], node.get("widgets_values")
    for key, node in document.items():
        if isinstance(node, dict) and isinstance(node.get("class_type"), str):
            yield str(key)[:80], node["class_type"], node.get("inputs")


def _judge_node(scan: Scan, where: str, kind: str, given: object) -> None:
    for text in texts(given):
        if _CODE_NODE.search(kind):
            report_code(scan, where, text)
        else:
            report_text(scan, where, text)


def report_code(scan: Scan, key: str, text: str) -> None:
    """Report text that is run as Python and does more than a configuration needs.

    Args:
        scan: Where to report.
        key: The location of the text.
        text: Python code, or a template of it.
    """
    if len(text) > MAX_CODE:
        scan.mark_incomplete(f"{key} runs code of {len(text)} characters")
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the text's own escapes
        try:
            ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            report_text(scan, key, text)
            return
    from agents.checks.artifacts.python.faults import python_faults  # noqa: PLC0415 -- few hold code

    for fault in python_faults(text):
        if fault.severity is Severity.CRITICAL:
            scan.report(
                "TW-MODEL-METADATA-CODE", f"{key} runs code that {fault.what[:120]}", key=key[:200]
            )
