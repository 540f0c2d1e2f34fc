"""Writes the names of the most installed packages, from a list that another scanner publishes.

Run it again on the scanner's next release:

    pip download --no-deps -d wheels guarddog
    python -m tests.agents.checks.packages.installed_names wheels/guarddog-*.whl

Nothing is installed or imported: the wheel's JSON list, in order of downloads, is read. Downloads
alone make no name honest, so a name is left out where `disputed.txt` has it: a person found that it
is mistaken for a more popular one. Names that intelligence knows for malicious are left out with
`--malicious FILE`, one name a line.
"""

from __future__ import annotations

import argparse
import json
import textwrap
import zipfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from agents.checks.packages import names
from agents.checks.packages.popularity import read_names
from agents.checks.packages.versions import canonical_name

_FOLDER: Final = Path(names.__file__).with_name("names")
OUTPUT: Final = _FOLDER / "installed.txt"
_MEMBER: Final = "guarddog/analyzer/metadata/resources/top_pypi_packages.json"
_HEAD: Final = """\
# The most installed packages, in order of downloads, as guarddog {version} lists them ({date}).
# Written by `python -m tests.agents.checks.packages.installed_names`; do not edit.
"""


def listed(wheel: Path) -> tuple[str, list[str]]:
    """Return the date of a wheel's list, and its names in canonical form."""
    with zipfile.ZipFile(wheel) as archive:
        record = json.loads(archive.read(_MEMBER))
    date = datetime.fromtimestamp(record["downloaded_timestamp"], UTC).date().isoformat()
    return date, list(dict.fromkeys(map(canonical_name, record["packages"])))


def written(version: str, date: str, found: Iterable[str], left_out: Iterable[str]) -> str:
    """Return the text of the list without the names left out."""
    excluded = frozenset(left_out)
    kept = " ".join(name for name in found if name not in excluded)
    body = textwrap.fill(kept, 100, break_on_hyphens=False, break_long_words=False)
    return f"{_HEAD.format(version=version, date=date)}{body}\n"


def main() -> None:
    """Write the list."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--malicious", type=Path)
    given = parser.parse_args()
    disputed = read_names((_FOLDER / "disputed.txt").read_text(encoding="utf-8"))
    if given.malicious:
        disputed += read_names(given.malicious.read_text(encoding="utf-8"))
    date, found = listed(given.wheel)
    version = given.wheel.name.split("-")[1]
    OUTPUT.write_text(written(version, date, found, disputed), encoding="utf-8")


if __name__ == "__main__":
    main()
