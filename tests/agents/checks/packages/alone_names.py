"""Writes the well-known names that others hardly extend, counted over a list of public names.

A name such as `certifi` with a word of a release added, as `latest` or `lib`, is rarely an honest
extension, where `langchain` with one often is. Run it again when the lists of names change:

    python -m tests.agents.checks.packages.alone_names NAMES --malicious FILE

Both files hold one name a line: the names of a public index, and those that intelligence knows for
malicious. A name stands alone if the index has at most one name that adds such words to it, or
at most four for each malicious one, of which there are three or more.
"""

from __future__ import annotations

import argparse
import textwrap
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from agents.checks.packages import names
from agents.checks.packages.combinations import (
    KNOWN_WITH,
    judge_combination,
    judge_family_name,
    says_release,
)
from agents.checks.packages.name_index import NAME_LIMIT, name_index
from agents.checks.packages.name_verdict import COMBO
from agents.checks.packages.popularity import read_names
from agents.checks.packages.typos import is_plug_in

OUTPUT: Final = Path(names.__file__).with_name("names") / "alone.txt"
_RANK: Final = 150
_HONEST: Final = 1
_HOSTILE: Final = 3
_PER_MALICIOUS: Final = 4
_HEAD: Final = """\
# Well-known names that others hardly extend, sorted: a public index has next to no name that is one
# of them with words of release.txt added, or has more malicious ones.
# Written by `python -m tests.agents.checks.packages.alone_names`; do not edit.
"""


def extended(found: Iterable[str]) -> Counter[str]:
    """Return how many names are a well-known one with generic words added, by the known name."""
    index = name_index()
    counts: Counter[str] = Counter()
    for name in found:
        if len(name) > NAME_LIMIT:
            continue
        judge = judge_family_name if is_plug_in(name, index) else judge_combination
        verdict = judge(name, index)
        if verdict is None or verdict.rule_id != COMBO:
            continue
        words = verdict.technique.removeprefix(KNOWN_WITH).split()
        if says_release(words, index.table):
            counts[verdict.target] += 1
    return counts


def alone(found: Iterable[str], malicious: Iterable[str]) -> list[str]:
    """Return the names that stand alone, of those that are imitated most."""
    bad = set(malicious)
    honest, hostile = extended(name for name in found if name not in bad), extended(bad)
    index = name_index()
    return sorted(
        name
        for name in index.anchors
        if index.table.ranks[name] < _RANK
        and name not in index.table.brands
        and (
            honest[name] <= _HONEST
            or honest[name] <= _PER_MALICIOUS * hostile[name] >= _PER_MALICIOUS * _HOSTILE
        )
    )


def main() -> None:
    """Write the list."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", type=Path)
    parser.add_argument("--malicious", type=Path, required=True)
    given = parser.parse_args()
    listed, bad = (
        read_names(path.read_text(encoding="utf-8")) for path in (given.names, given.malicious)
    )
    body = textwrap.fill(
        " ".join(alone(listed, bad)), 100, break_on_hyphens=False, break_long_words=False
    )
    OUTPUT.write_text(f"{_HEAD}{body}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
