"""The formats that are known, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Final

import msgspec

from agents.checks.artifacts.formats import (
    boosters,
    coreml,
    engines,
    executables,
    foreign,
    gguf,
    matlab,
    msgpack_documents,
    onnx,
    programs,
    recognition,
    safetensors,
    sentencepiece,
    tensorflow,
    tflite,
)
from agents.checks.artifacts.python import bytecode
from agents.checks.artifacts.scanning import Scan, Source


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """One format: how it is recognised, how it is read."""

    name: str
    matches: Callable[[str, bytes, Source], bool]
    """Of the file's name, its first bytes and the file: whether it is this format."""
    parse: Callable[[Scan, str, Source], None]
    safe: bool
    """Whether a whole file of it can't run code when its own loader reads it."""


def _later(module: str, package: str = __package__) -> Callable[[Scan, str, Source], None]:
    """Return the `parse` of a module that is imported for the first file of its format."""

    def parse(scan: Scan, name: str, source: Source) -> None:
        import_module(f"{package}.{module}").parse(scan, name, source)

    return parse


def _is_document(name: str, head: bytes, source: Source) -> bool:
    """Say whether a file is text in the place of a model; its reader is imported for text only."""
    if not recognition.is_unnamed_text(name, head):
        return False
    matches: bool = import_module(f"{__package__}.documents").matches(name, head, source)
    return matches


FORMATS: Final[tuple[Format, ...]] = (
    Format(name="document", matches=_is_document, parse=_later("documents"), safe=True),
    Format(name="gguf", matches=gguf.matches, parse=gguf.parse, safe=True),
    Format(name="hdf5", matches=recognition.is_hdf5, parse=_later("hdf5"), safe=False),
    Format(name="tflite", matches=tflite.matches, parse=tflite.parse, safe=True),
    Format(name="engine", matches=engines.matches, parse=engines.parse, safe=False),
    Format(
        name="executable",
        matches=executables.matches_binary,
        parse=executables.parse_binary,
        safe=False,
    ),
    Format(name="bytecode", matches=bytecode.matches, parse=bytecode.parse, safe=False),
    Format(name="site", matches=programs.matches_site, parse=programs.parse_site, safe=False),
    Format(
        name="catboost",
        matches=boosters.matches_catboost,
        parse=boosters.parse_catboost,
        safe=True,
    ),
    Format(
        name="xgboost", matches=boosters.matches_xgboost, parse=boosters.parse_xgboost, safe=True
    ),
    Format(name="safetensors", matches=safetensors.matches, parse=safetensors.parse, safe=True),
    Format(
        name="lightgbm",
        matches=boosters.matches_lightgbm,
        parse=boosters.parse_lightgbm,
        safe=True,
    ),
    Format(name="matlab", matches=matlab.matches, parse=matlab.parse, safe=True),
    Format(name="foreign", matches=foreign.matches, parse=foreign.parse, safe=False),
    Format(name="coreml", matches=coreml.matches, parse=coreml.parse, safe=True),
    Format(
        name="sentencepiece", matches=sentencepiece.matches, parse=sentencepiece.parse, safe=True
    ),
    Format(name="tensorflow", matches=tensorflow.matches, parse=tensorflow.parse, safe=False),
    Format(
        name="tensorflow-text",
        matches=tensorflow.matches_text,
        parse=tensorflow.parse_text,
        safe=False,
    ),
    Format(name="onnx", matches=onnx.matches, parse=onnx.parse, safe=True),
    Format(
        name="msgpack", matches=msgpack_documents.matches, parse=msgpack_documents.parse, safe=True
    ),
    Format(
        name="python",
        matches=recognition.is_python,
        parse=_later("code", "agents.checks.artifacts.python"),
        safe=False,
    ),
    Format(
        name="script",
        matches=executables.matches_script,
        parse=executables.parse_script,
        safe=False,
    ),
    Format(name="xml", matches=recognition.is_xml, parse=_later("xml_documents"), safe=True),
    Format(name="json", matches=recognition.is_json, parse=_later("json_documents"), safe=True),
    Format(name="yaml", matches=recognition.is_yaml, parse=_later("yaml_documents"), safe=True),
    Format(name="text", matches=recognition.is_text, parse=_later("plain_text"), safe=True),
    Format(
        name="encoded", matches=programs.matches_wrapped, parse=programs.parse_wrapped, safe=False
    ),
    Format(name="program", matches=programs.matches, parse=programs.parse, safe=False),
)
