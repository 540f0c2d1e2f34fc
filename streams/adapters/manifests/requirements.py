"""Requirements as pip reads them: files in its format, and requirements in other manifests."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from typing import Final

from agents.checks.packages.requirements import RequirementLine, Requirements, read_requirements
from agents.checks.packages.requirements_text import decode_requirements
from schemas import dead_letters as reasons
from schemas.events import Package, Vcs
from streams.adapters.manifests.found import Found, InstallOptions, Lock, lock_in
from streams.adapters.manifests.kinds import kind_of_content
from streams.adapters.manifests.neighbours import absence
from streams.adapters.payload import refuse

_LINE_LIMIT: Final = 8000
_NESTED: Final = frozenset({"requirement", "constraint"})
_INDEXES: Final = frozenset({"index-url", "extra-index-url"})
_VARIABLE: Final = re.compile(r"\$\{[A-Z0-9_]+\}")
"""A variable of the environment that pip expands in a file of requirements."""


def parsed_requirements(
    text: str | bytes, files: Mapping[str, str], path: str = ""
) -> Requirements:
    """Return requirements with the given files that they name.

    Args:
        text: The requirements.
        files: Texts of further files, by path.
        path: The path of the requirements among them.

    Raises:
        UnreadableRecordError: more lines than are read.
    """
    content = text if isinstance(text, str) else decode_requirements(text)
    parsed = read_requirements(content, file=path or "requirements.txt", files=files)
    if parsed.cut:
        raise refuse("too many requirement lines", reasons.TOO_LARGE)
    return parsed


def requirements_lock(parsed: Requirements) -> Lock:
    """Return the digests that requirements list, by `name==version`."""
    lock: Lock = {}
    for line in parsed.lines:
        if line.name:
            lock_in(lock, line.name, line.version, line.hashes)
    return lock


def requirement_texts(parsed: Requirements) -> list[str]:
    """Return the lines that require a package; files that were read are not listed."""
    # A line with dozens of hashes is too long for an event: its lock holds them all.
    return [
        line.text if len(line.text) <= _LINE_LIMIT else line.text.partition(" --hash")[0]
        for line in parsed.lines
        if not line.constraint and not _was_followed(line, parsed)
    ]


def _was_followed(line: RequirementLine, parsed: Requirements) -> bool:
    return (
        line.option in _NESTED
        and line.error is None
        and beside(line.file or "", line.value or "") not in parsed.missing_files
    )


def beside(path: str, named: str) -> str:
    """Return the path of a file that another names, relative to the same root."""
    if "://" in named:
        return named
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), named))


def package_of(line: RequirementLine) -> Package | None:
    """Return the package of a requirement line, None for any other line."""
    if not line.is_requirement or line.constraint or not line.name:
        return None
    digests = [text for text in line.hashes if text.startswith("sha256:")]
    return Package(
        name=line.name,
        version=line.version,
        requested=True,
        direct=line.url is not None,
        editable=line.editable,
        url=line.url,
        hashes={"sha256": digests[0][7:]} if len(digests) == 1 else {},
        vcs=Vcs(vcs=line.vcs, url=line.url, commit_id=line.commit) if line.vcs else None,
    )


def add_requirements(found: Found, parsed: Requirements, files: Mapping[str, str]) -> None:
    """Add requirements as an installer reads them: unpinned or unhashed ones are findings.

    Args:
        found: The result to add them to.
        parsed: The requirements.
        files: Texts of the files that they may name, by path.
    """
    found.requirements.extend(requirement_texts(parsed))
    for entry, digests in requirements_lock(parsed).items():
        name, _, version = entry.partition("==")
        lock_in(found.lock, name, version, digests)
    index = parsed.option_values("index-url")
    found.index_url = index[-1] if index else found.index_url
    found.extra_index_urls = (*found.extra_index_urls, *parsed.option_values("extra-index-url"))
    found.packages.extend(
        package for package in map(package_of, parsed.lines) if package is not None
    )
    found.incomplete.extend(refused_lines(parsed))
    found.incomplete.extend(missing_files(parsed, files))


def declare(found: Found, requirements: Iterable[str], place: str) -> None:
    """Add requirements that a project declares, which need not be pinned: a lock does that.

    Args:
        found: The result to add them to.
        requirements: In the syntax of PEP 508.
        place: Their location, for those that can't be read.
    """
    text = "\n".join(requirement.replace("\n", " ") for requirement in requirements)
    parsed = read_requirements(text)
    for line in parsed.lines:
        if line.error is not None:
            found.incomplete.append(
                f"{place}: {line.text[:100]!r} is not a requirement: {line.error}"
            )
            if not line.text.isascii():  # the name may look like another
                found.requirements.append(line.text[:_LINE_LIMIT])
            continue
        package = package_of(line)
        if package is not None:
            found.packages.append(package)
        if line.url is not None or line.option is not None:
            found.requirements.append(line.text[:_LINE_LIMIT])


def declare_files(found: Found, paths: Iterable[str], options: InstallOptions, place: str) -> None:
    """Add the requirements in files that a project's definition names, as setuptools does.

    Args:
        found: The result to add them to.
        paths: Of the files, relative to the definition's folder.
        options: The path of the definition, and texts of files.
        place: The definition's name, for files that can't be read.
    """
    for named in paths:
        path = beside(options.path, named)
        text = options.files.get(path)
        if text is None:
            why = absence(options.files, path)
            found.incomplete.append(f"{place}: {named} was not read: {why}")
        else:
            declare(found, text.splitlines(), path)


def refused_lines(parsed: Requirements) -> list[str]:
    """Return the lines that pip would refuse, each with its place and the reason."""
    return [
        f"{line.file or 'requirements'}:{line.line}: {refusal(line)}"
        for line in parsed.lines
        if line.error is not None and not line.hashes
    ]


def refusal(line: RequirementLine) -> str:
    """Return why a line was not read: pip refuses it, or a variable decides what it says."""
    shown = repr(line.text[:80])
    if _VARIABLE.search(line.text):
        return f"{shown} has the value of a variable"
    return f"pip would refuse {shown}: {line.error}"


def missing_files(parsed: Requirements, files: Mapping[str, str]) -> list[str]:
    """Return the files that lines name and that were not read, each with its place and the reason.

    Args:
        parsed: The requirements.
        files: Texts of the files that they may name, by path.
    """
    return [
        f"{line.file or 'requirements'}:{line.line}: {line.value} was not read:"
        f" {_absence(line, files)}"
        for line in parsed.lines
        if line.option in _NESTED and line.error is None and not _was_followed(line, parsed)
    ]


def _absence(line: RequirementLine, files: Mapping[str, str]) -> str:
    named = line.value or ""
    if _VARIABLE.search(named):
        return "a variable names it"
    return "it is elsewhere" if "://" in named else absence(files, beside(line.file or "", named))


def read(raw: bytes, options: InstallOptions) -> Found:
    """Return the packages of requirements, including the files that they name."""
    likely = kind_of_content(raw)
    if likely is not None and likely.name not in {"requirements", "conda-explicit"}:
        raise refuse(f"not requirements of pip: it looks like {likely.name}")
    found = Found()
    parsed = parsed_requirements(raw, options.files, options.path)
    add_requirements(found, parsed, options.files)
    return found
