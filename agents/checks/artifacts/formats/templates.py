"""Reports problems of a template; the parser is imported on first use.

Importing jinja2 takes longer than scanning a model that has no template.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from agents.checks.artifacts.scanning import Scan
from agents.domain.late_pattern import late_pattern
from schemas.severity import Severity

_RAW_ESCAPE: Final = late_pattern(
    r"__(class|globals|builtins|subclasses|mro|base|init|import)__|\|\s*attr\s*\(|"
    r"\bos\s*\.\s*(popen|system)\b|\\x5f\\x5f",
)


_GO: Final = late_pattern(
    r"(if|else if|range|with|block|define|template|eq|ne|and|or|not|len|index|slice|printf|json"
    r"|\(|)"
    r"(\s|$|\()?[\w\s.$:=,()\"'`<>|+\-!/\\\[\]{}#@%*?&;^~]*",
    re.DOTALL,
)
_GO_SIGN: Final = late_pattern(
    r"\{\{-?\s*(\.[A-Z]\w*|\$[\w.]*|(if|range|with|else if)\b[^{}]*[\s(][.$]|end\b|define\s+\")"
)


_ACTION: Final = late_pattern(r"\{\{-?\s*[^\n{}]{1,400}|\{%-?\s*\w")


_HELM: Final = late_pattern(
    r"\{\{-?[^{}\n]{0,400}?(?:(?<![\w.)\]])\$?\.(?:Values|Release|Chart|Capabilities|Files)\b"
    r"|\binclude\s+[\"'])"
)


def has_action(text: str) -> bool:
    """Return whether a text is a template of another, by an action as Helm and Jinja write it."""
    return _ACTION.search(text) is not None


def filled_by_helm(text: str) -> int | None:
    """Return the first line with a value that Helm fills in, None if there is none.

    Such a text may be YAML as it is, and says nothing about what is in its place afterwards.

    Source: Helm's built-in objects, and its function `include`.
    """
    found = _HELM.search(text) if "{{" in text else None
    return text.count("\n", 0, found.start()) + 1 if found else None


def is_go_template(text: str) -> bool:
    """Return whether a template is in Go's language, as Ollama reads it; it can't call code.

    Args:
        text: A template in a language other than Jinja.

    Source: Go's text/template; Ollama's `template` package.
    """
    return (
        "{%" not in text
        and bool(_GO_SIGN.search(text))
        and not _RAW_ESCAPE.search(text)
        and all("__" not in action and _GO.fullmatch(action) for action in _go_actions(text))
    )


def _go_actions(text: str) -> Iterator[str]:
    """Yield the text between `{{` and the next `}}`, without trim markers and white space."""
    end = 0
    while (begin := text.find("{{", end)) >= 0 and (end := text.find("}}", begin + 2)) >= 0:
        yield text[begin + 2 : end].removeprefix("-").removesuffix("-").strip()
        end += 2


def is_escape(text: str) -> bool:
    """Return whether a template names a way out of its sandbox."""
    return _RAW_ESCAPE.search(text) is not None


def report_template(scan: Scan, text: str, key: str, *, in_program: bool = False) -> None:
    """Judge a template and report its problems; unreadable templates are incomplete.

    Args:
        scan: Where to report.
        text: The template.
        key: Where it is: a metadata key, a JSON path.
        in_program: Whether a program fills it in, and no tokenizer: then only names of the
            interpreter's inner parts lead out of it.
    """
    from jinja2 import TemplateSyntaxError  # noqa: PLC0415 -- see above

    from agents.checks.artifacts.formats.jinja_templates import (  # noqa: PLC0415 -- the same
        template_faults,
    )

    try:
        faults = template_faults(text)
    except TemplateSyntaxError as error:
        if _RAW_ESCAPE.search(text):
            scan.report(
                "TW-MODEL-TEMPLATE-ESCAPE",
                f"a template that does not parse names the interpreter's inner parts: {error}",
                key=key,
            )
        if not is_go_template(text):
            scan.mark_incomplete(f"{key}: the template does not parse: {error.message}")
        return
    except RecursionError:
        scan.report("TW-MODEL-TEMPLATE-EXHAUSTION", "a template is nested too deep", key=key)
        scan.mark_incomplete(f"{key}: the template is nested too deep")
        return
    severity = Severity.LOW if in_program and not is_escape(text) else None
    for fault in faults:
        scan.report(
            fault.rule_id,
            fault.what,
            severity=severity,
            key=key,
            line=fault.line,
            name=fault.what[:80],
        )
