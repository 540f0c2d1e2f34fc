"""Recognises raw numbers by the file beside them that describes them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

_Beside = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]
_DESCRIBED: Final[tuple[_Beside, ...]] = (
    (re.compile(r"(.+)\.data-\d{5}-of-\d{5}"), lambda match: f"{match[1]}.index"),
    (re.compile(r"(.+)\.bin"), lambda match: f"{match[1]}.xml"),
    (re.compile(r"(.+)\.bin"), lambda match: f"{match[1]}.param"),
    (re.compile(r"(.+)\.pdiparams"), lambda match: f"{match[1]}.pdmodel"),
    (re.compile(r"(.+\.onnx)(?:[._]data(?:_\d+)?|\.weights?)"), lambda match: match[1]),
    (re.compile(r"(.+)\.data"), lambda match: f"{match[1]}.onnx"),
)
"""Of TensorFlow's checkpoints, OpenVINO, ncnn, Paddle and ONNX: the data, and what describes it."""


def is_described(name: str, siblings: frozenset[str]) -> bool:
    """Return whether a file holds the numbers of a model that a file beside it describes.

    A blob of a hub's cache has no name of its own: it is read under that of its link.

    Args:
        name: Its path.
        siblings: The paths of the files of its folder.
    """
    return any(
        describes(match) in siblings
        for pattern, describes in _DESCRIBED
        if (match := pattern.fullmatch(name))
    )
