"""Names of our own making: imitations, and harmless names that lie close to well-known ones.

Run as a script to see precision and recall: `python -m tests.agents.checks.packages.name_cases`.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from agents.checks.packages.names import judge_name
from agents.checks.packages.versions import canonical_name
from schemas.severity import Severity

_CASES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
TYPOSQUATS = _CASES["typosquats"].split()
COMBOSQUATS = _CASES["combosquats"].split()
HARMLESS = _CASES["harmless"].split()


def measure() -> dict[str, float]:
    """Return precision and recall over the cases."""
    typos, combos, harmless = (
        [judge_name(canonical_name(name)) for name in names]
        for names in (TYPOSQUATS, COMBOSQUATS, HARMLESS)
    )
    hits = sum(typo is not None for typo in (*typos, *combos))
    false = sum(score is not None for score in harmless)
    return {
        "precision": hits / (hits + false),
        "recall": hits / (len(typos) + len(combos)),
        "recall of typosquats": sum(typo is not None for typo in typos) / len(typos),
        "recall of combosquats": sum(combo is not None for combo in combos) / len(combos),
        "typosquats above low": sum(
            typo is not None and typo.severity.rank > Severity.LOW.rank for typo in typos
        )
        / len(typos),
        "harmless above low": sum(
            score is not None and score.severity.rank > Severity.LOW.rank for score in harmless
        ),
    }


if __name__ == "__main__":
    for title, value in measure().items():
        print(f"{title:24} {value:.3f}")
    for name in (*TYPOSQUATS, *COMBOSQUATS):
        if judge_name(canonical_name(name)) is None:
            print(f"missed: {name}")
