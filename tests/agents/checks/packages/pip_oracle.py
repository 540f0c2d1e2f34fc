"""What pip itself makes of requirement texts: `requirement_cases.json` holds its answers.

Run where pip is installed to rewrite them: `python -m tests.agents.checks.packages.pip_oracle`.

Left out are texts that pip refuses or takes for what lies on the disk, stands in the environment,
or is decoded by the locale. File contents are held as Latin-1, a character for each byte.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import chdir
from pathlib import Path
from typing import Any

CASES_FILE = Path(__file__).with_name("requirement_cases.json")


def read_cases() -> list[dict[str, Any]]:
    """Return the cases: `files` by path, and what pip `reads`, None where it refuses the text."""
    cases: list[dict[str, Any]] = json.loads(CASES_FILE.read_text(encoding="ascii"))
    return cases


def ask_pip(files: dict[str, str]) -> list[dict[str, Any]] | None:
    """Return the requirements that pip reads from requirements.txt, None if it refuses them."""
    from pip._internal.exceptions import (  # noqa: PLC0415 -- for writing the cases only
        PipError,
    )
    from pip._internal.network.session import PipSession  # noqa: PLC0415
    from pip._internal.req.constructors import (  # noqa: PLC0415
        install_req_from_parsed_requirement,
    )
    from pip._internal.req.req_file import parse_requirements  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        for path in ("src/pkg", "pkg"):
            Path(path).mkdir(parents=True)
            Path(path, "pyproject.toml").write_text('[project]\nname="pkg"\nversion="1"\n')
        for path, text in files.items():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_bytes(text.encode("latin-1"))
        try:
            return [
                _facts(
                    install_req_from_parsed_requirement(parsed),
                    constraint=parsed.constraint,
                )
                for parsed in parse_requirements("requirements.txt", session=PipSession())
            ]
        except (PipError, ValueError):
            return None


def _facts(read: Any, *, constraint: bool) -> dict[str, Any]:
    hashes = {f"{kind}:{value}" for kind, values in read.hash_options.items() for value in values}
    if read.link and read.link.hash:
        hashes.add(f"{read.link.hash_name}:{read.link.hash}")
    return {
        "name": read.req.name if read.req else None,
        "extras": sorted(read.extras),
        "specifier": str(read.req.specifier) if read.req and not read.link else "",
        "marker": str(read.markers) if read.markers else None,
        "direct": bool(read.link),
        "editable": read.editable,
        "constraint": constraint,
        "hashes": sorted(hash_entry.lower() for hash_entry in hashes),
    }


def main() -> None:
    """Write the answers of the pip at hand."""
    cases = [{"files": case["files"], "reads": ask_pip(case["files"])} for case in read_cases()]
    text = ",\n".join(json.dumps(case, sort_keys=True) for case in cases)
    CASES_FILE.write_text(f"[\n{text}\n]\n", encoding="ascii")


if __name__ == "__main__":
    main()
