"""YAML read without running anything, within bounds."""

from __future__ import annotations

from typing import Any, Final

import yaml

from agents.checks.pipelines.yaml_loader import plain_loader
from schemas import dead_letters as reasons
from streams.adapters.payload import refuse

YAML_BYTES: Final = 32 << 20


def read_yaml(raw: bytes) -> Any:  # noqa: ANN401 -- any YAML document
    """Return the one document of a YAML text.

    Raises:
        UnreadableRecordError: too large, or no YAML.
    """
    if len(raw) > YAML_BYTES:
        raise refuse(f"{len(raw):,} bytes of YAML exceed {YAML_BYTES:,}", reasons.TOO_LARGE)
    try:
        return yaml.load(raw, Loader=plain_loader(raw))  # noqa: S506 -- a safe loader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise refuse(f"no YAML: {getattr(error, 'problem', None) or error}{where}") from error
    except (RecursionError, ValueError, TypeError) as error:
        raise refuse(f"no YAML: {type(error).__name__}") from error
