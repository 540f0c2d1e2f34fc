"""The reference of the detection rules in Markdown: an index, and a page for each family.

Written by `make docs`, which runs `python -m streams.reports.rule_pages docs/rules`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from agents.domain.rules import Example, Rule, families, family_of, family_rules
from schemas.errors import TidewatchError
from schemas.taxonomy import taxonomy

INDEX: Final = "README.md"
FAMILIES: Final = {
    "artifacts/archives": "Archives: zip, tar, 7z and compressed streams.",
    "artifacts/boosters": "Gradient boosting: XGBoost, LightGBM and CatBoost.",
    "artifacts/code": "Python beside the weights: remote code, modules and notebooks.",
    "artifacts/configuration": "Configurations in JSON and YAML, and metadata of all formats.",
    "artifacts/engines": "Compiled models: Core ML, TensorRT and ExecuTorch.",
    "artifacts/files": "Names and headers of files.",
    "artifacts/gguf": "GGUF.",
    "artifacts/keras": "Keras and HDF5.",
    "artifacts/msgpack": "MessagePack, as Flax writes it.",
    "artifacts/onnx": "ONNX.",
    "artifacts/pickle": "Pickles, in every file and member that contains one.",
    "artifacts/programs": "Programs, scripts and bytecode among the model's files.",
    "artifacts/repository": "Cards, requirements, paths and Git files of a repository.",
    "artifacts/safetensors": "safetensors.",
    "artifacts/skops": "skops.",
    "artifacts/templates": "Chat templates.",
    "artifacts/tensorflow": "TensorFlow graphs and TensorFlow Lite.",
    "artifacts/torchscript": "Code of TorchScript archives.",
    "artifacts/xml": "XML models: PMML and OpenVINO.",
    "intelligence": "Intelligence about components that were seen.",
    "ledger": "Correlations across events, systems, tenants and time.",
    "packages": "Packages that were installed.",
    "pipelines": "Pipeline runs: data sources, configurations, evaluations.",
    "provenance": "Models that were pushed: digests, signatures, names, cards.",
}
"""What each family is about, in a line."""
_LINKS: Final = (
    (re.compile(r"CVE-.*"), "https://www.cve.org/CVERecord?id={0}"),
    (re.compile(r"CWE-(\d+)"), "https://cwe.mitre.org/data/definitions/{1}.html"),
    (re.compile(r"GHSA-.*"), "https://github.com/advisories/{0}"),
    (re.compile(r"PEP (\d+)"), "https://peps.python.org/pep-{1:0>4}/"),
    (re.compile(r"RFC (\d+)"), "https://www.rfc-editor.org/rfc/rfc{1}"),
    (re.compile(r"arXiv:(.*)"), "https://arxiv.org/abs/{1}"),
)
_HOW_TO: Final = (
    "## Add a rule",
    "",
    (
        "1. Copy a neighbour to `agents/rules/<family>/<id in lower case>.toml` and fill every"
        " field; `Rule` in `agents/domain/rules.py` says what each one means."
    ),
    (
        "2. Report the id where the check meets it, or give the rule a `[when]` that the component"
        " ledger evaluates."
    ),
    (
        "3. Give it at least one hit and one near miss, and run"
        " `pytest tests/agents/domain/test_rules.py`."
    ),
    "4. Run `make docs`.",
)
_SHOWN: Final = 300
"""Characters of an example that a page shows."""


class UnnamedFamilyError(TidewatchError):
    """A family of rules that the reference does not describe."""


def page_name(family: str) -> str:
    """Return the file name of a family's page."""
    return f"{family.replace('/', '-')}.md"


def rule_pages() -> dict[str, str]:
    """Return every page of the reference, by its file name.

    Raises:
        UnnamedFamilyError: a family has no line in `FAMILIES`.
    """
    pages = {INDEX: _index()}
    for family in families():
        pages[page_name(family)] = _page(family)
    return pages


def write_pages(folder: Path) -> None:
    """Write the reference into a folder, and remove pages of families that are gone."""
    pages = rule_pages()
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.md"):
        if path.name not in pages:
            path.unlink()
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")


def _about(family: str) -> str:
    if family not in FAMILIES:
        raise UnnamedFamilyError(
            f"the family {family} is not described",
            where="streams/reports/rule_pages.py",
            remedy="add a line to FAMILIES",
        )
    return FAMILIES[family]


def _index() -> str:
    lines = [
        "# Detection rules",
        "",
        "Each rule is one file under `agents/rules`. `make docs` generates these pages from them.",
        "",
        "| family | rules | subject |",
        "|---|--:|---|",
    ]
    lines += [
        f"| [{family}]({page_name(family)}) | {len(family_rules(family))} | {_about(family)} |"
        for family in families()
    ]
    lines += ["", "## All rules", "", "| rule | title | severity |", "|---|---|---|"]
    rules = [rule for family in families() for rule in family_rules(family).values()]
    lines += [
        f"| [{rule.id}]({page_name(family_of(rule.id))}#{rule.id.lower()}) | {_plain(rule.title)}"
        f" | {rule.severity} |"
        for rule in sorted(rules, key=lambda rule: rule.id)
    ]
    return "\n".join([*lines, "", *_HOW_TO]) + "\n"


def _page(family: str) -> str:
    rules = family_rules(family)
    lines = [
        f"# Rules: {family}",
        "",
        _about(family),
        "",
        f"[All families]({INDEX}). Generated from `agents/rules/{family}` by `make docs`.",
        "",
    ]
    for rule_id in sorted(rules):
        lines += _section(rules[rule_id])
    return "\n".join(lines)


def _section(rule: Rule) -> list[str]:
    techniques = taxonomy().techniques
    others = [technique for technique in rule.techniques if technique != rule.atlas]
    named = "; ".join(
        f"{technique} {techniques[technique].name}" for technique in (rule.atlas, *others)
    )
    feeds = (
        "The component ledger; it feeds no check of an assessment."
        if rule.check == "ledger"
        else f"`{rule.check}`"
    )
    return [
        f"## {rule.id}",
        "",
        f"**{_plain(rule.title)}**",
        "",
        _plain(rule.description.strip()),
        "",
        "| | |",
        "|---|---|",
        f"| severity | **{rule.severity}**. {_cell(rule.severity_reason)} |",
        f"| confidence | **{rule.confidence}**. {_cell(rule.confidence_reason)} |",
        f"| kind of indicator | `{rule.ioc_type}` |",
        f"| check | {feeds} |",
        f"| MITRE ATLAS | {named} |",
        f"| NIST SSDF | {', '.join(rule.ssdf)} |",
        f"| created, updated | {rule.created}, {rule.updated} |",
        "",
        "Triage:",
        "",
        *(f"{at}. {_plain(step)}" for at, step in enumerate(rule.triage, 1)),
        "",
        "Known false positives:",
        "",
        *(f"- {_plain(cause)}" for cause in rule.false_positives or ("None known.",)),
        "",
        "Examples:",
        "",
        *(_example("reported", example) for example in rule.examples.hit),
        *(_example("not reported", example) for example in rule.examples.miss),
        "",
        f"References: {', '.join(_reference(reference) for reference in rule.references)}",
        "",
    ]


def _example(what: str, example: Example) -> str:
    return f"- {what}: {_plain(example.title)}: {_code(_given(example.given))}"


def _given(given: Any) -> str:  # noqa: ANN401 -- what an example holds is its family's own
    if isinstance(given, dict):
        for kind in ("corpus", "sample"):
            if kind in given:
                return f"{kind} {given[kind]}"
    return msgspec.json.encode(given).decode()


def _code(text: str) -> str:
    """Return text as inline code, however many backticks it has."""
    clipped = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    runs = re.findall(r"`+", clipped)
    fence = "`" * (max(map(len, runs), default=0) + 1)
    return f"{fence} {clipped} {fence}"


def _plain(text: str) -> str:
    """Return text whose angle brackets stay text; what is in backticks is left as it is."""
    parts = text.split("`")
    return "`".join(
        part if at % 2 else part.replace("<", "\\<").replace("*", "\\*")
        for at, part in enumerate(parts)
    )


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|")


def _reference(reference: str) -> str:
    for pattern, address in _LINKS:
        if match := pattern.fullmatch(reference):
            return f"[{reference}]({address.format(reference, *match.groups())})"
    return f"<{reference}>"


def main() -> None:
    """Write the reference into the folder that the command line names."""
    if len(sys.argv) != 2:  # noqa: PLR2004 -- the program and the folder
        raise SystemExit("usage: python -m streams.reports.rule_pages FOLDER")
    write_pages(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
