"""The formats that are known, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from agents.checks.artifacts.formats import (
    boosters,
    bytecode,
    coreml,
    engines,
    executables,
    foreign,
    gguf,
    hdf5,
    json_documents,
    msgpack_documents,
    onnx,
    plain_text,
    programs,
    python_code,
    safetensors,
    sentencepiece,
    tensorflow,
    tflite,
    xml_documents,
    yaml_documents,
)
from agents.checks.artifacts.scanning import Scan, Source


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """One format: how it is recognised, how it is read."""

    name: str
    matches: Callable[[str, bytes, Source], bool]
    """Of the file's name, its first bytes and the file: whether it is this format."""
    parse: Callable[[Scan, str, Source], None]
    safe: bool
    """Whether a whole file of it can't run code when its own loader reads it."""


FORMATS: Final[tuple[Format, ...]] = (
    Format(name="gguf", matches=gguf.matches, parse=gguf.parse, safe=True),
    Format(name="hdf5", matches=hdf5.matches, parse=hdf5.parse, safe=False),
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
    Format(name="python", matches=python_code.matches, parse=python_code.parse, safe=False),
    Format(
        name="script",
        matches=executables.matches_script,
        parse=executables.parse_script,
        safe=False,
    ),
    Format(name="xml", matches=xml_documents.matches, parse=xml_documents.parse, safe=True),
    Format(name="json", matches=json_documents.matches, parse=json_documents.parse, safe=True),
    Format(name="yaml", matches=yaml_documents.matches, parse=yaml_documents.parse, safe=True),
    Format(name="text", matches=plain_text.matches, parse=plain_text.parse, safe=True),
    Format(
        name="encoded", matches=programs.matches_wrapped, parse=programs.parse_wrapped, safe=False
    ),
    Format(name="program", matches=programs.matches, parse=programs.parse, safe=False),
)
