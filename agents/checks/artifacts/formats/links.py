"""Reads links stored as text, as git writes them on systems without links."""

from __future__ import annotations

import posixpath
import re
from typing import Final

from agents.checks.artifacts.formats.format import Format
from agents.checks.artifacts.python.shell_commands import is_private_path
from agents.checks.artifacts.scanning import Scan, Source
from schemas.severity import Severity

MAX_LINK: Final = 1024
_LINK: Final = re.compile(rb"\.\.?/[^\x00-\x1f\"'<>|*?{}]+\Z")
_UP: Final = re.compile(r"^/?(\.\.?/)*")
_SYSTEM: Final = re.compile(r"(?i)(etc|proc|sys|dev|boot|(var/)?run/secrets|windows)(/|$)")
_PROSE: Final = (".txt", ".md", ".rst", ".gitattributes", ".gitignore", ".sh")
"""Names of files in which a path means something else, such as requirements."""


def matches(name: str, head: bytes, source: Source) -> bool:
    """Return whether a file holds a relative path and nothing else."""
    return (
        source.size <= MAX_LINK
        and head.startswith((b"../", b"./"))
        and _LINK.match(head) is not None
        and _may_lead(name.lower(), head.decode("utf-8", "replace").strip())
    )


def _may_lead(name: str, target: str) -> bool:
    """Return whether a path under a name can be the target of a link: prose only links to prose."""
    prose = next((end for end in _PROSE if name.endswith(end)), "")
    return target.lower().endswith(prose) or _is_sensitive(target)


def parse(scan: Scan, name: str, source: Source) -> None:
    """Report a link that leads out of the folder; a target inside is scanned by itself."""
    del name
    text = source.read(0, MAX_LINK).decode("utf-8", "replace").strip()
    here = posixpath.dirname(scan.path)
    target = posixpath.normpath(posixpath.join(here, text))
    if target.startswith("../") or target == ".." or (here[:1] != "/" and target[:1] == "/"):
        scan.report(
            "TW-FILE-LINK-OUTSIDE",
            f"a link to {text[:200]!r}, outside the folder",
            severity=Severity.CRITICAL if _is_sensitive(text) else None,
            name=text[:200],
        )
    elif scan.siblings and target not in scan.siblings:
        scan.mark_incomplete(f"the link leads to {text[:120]!r}, which is not among the files")


def _is_sensitive(target: str) -> bool:
    """Return whether a link leads to credentials or system files.

    Data kept elsewhere is linked legitimately, but models never link to these.
    """
    inner = _UP.sub("", target.replace("\\", "/"))
    return is_private_path(f"/{inner}") or _SYSTEM.match(inner) is not None


def in_snapshot(path: str, siblings: frozenset[str], name: str) -> bool:
    """Return whether a file of a hub's cache is known under a name in one of its snapshots.

    In that cache, `blobs` holds all files by their digests, and `snapshots` the links that name
    them: the files beside a model lie beside its link.

    Args:
        path: The file's path.
        siblings: All paths of the folder.
        name: The other file's name.
    """
    before, blobs, _ = path.rpartition("blobs/")
    if not blobs or (before and not before.endswith("/")):
        return False
    snapshots = f"{before}snapshots/"
    return any(
        sibling.startswith(snapshots) and sibling.endswith(f"/{name}") for sibling in siblings
    )


FORMAT: Final = Format(
    name="link", firsts=b".", matches=matches, parse=parse, rules=("TW-FILE-LINK-OUTSIDE",)
)
