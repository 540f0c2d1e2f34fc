"""The readable name of an incident: finding, model or package, and system."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from agents.triage.routing import split_version
from schemas.incidents.views import FindingView, SystemView

_DIGEST_SHOWN: Final = 12
_KINDS: Final = {"pypi": "package"}
"""Readable names of key prefixes."""
_HEX: Final = re.compile(r"(sha256:)?[0-9a-f]{20,}")
_NAMELESS: Final = ("sha256:", "tree:")
"""Prefixes of keys that are digests, used only for components without a name."""


def title_of(worst: FindingView | None, root: str, systems: Sequence[SystemView]) -> str:
    """Return the title of an incident.

    Args:
        worst: The worst finding; None: systems are exposed without a finding here.
        root: The incident's root, as its reader may read it.
        systems: The systems visible to the reader, by time.
    """
    kind = worst.ioc_type.replace("_", " ") if worst is not None else "exposure"
    digest = f" (sha256:{root[7 : 7 + _DIGEST_SHOWN]}…)" if root.startswith("sha256:") else ""
    name = component_name(worst, root, systems)
    where = ""
    hosts = list(dict.fromkeys(system.system for system in systems))
    if hosts:
        where = f" on {hosts[0]}" + (" and others" if len(hosts) > 1 else "")
    if name is None:
        return f"{kind[:1].upper()}{kind[1:]} in {root}{where}"
    noun = name.partition(" ")[0]
    # "poisoned dataset acme/clicks", not "poisoned dataset in dataset acme/clicks"
    what = f"{kind.removesuffix(noun)}{name}" if kind.endswith(f" {noun}") else f"{kind} in {name}"
    return f"{what[:1].upper()}{what[1:]}{where}{digest}"


def component_name(
    worst: FindingView | None, root: str, systems: Sequence[SystemView]
) -> str | None:
    """Return kind, name and version of the incident's component, None if it has none.

    The root's own name comes first, then the component of the worst finding, then the first that a
    system holds; derived components come last.
    """
    named = [split_version(root)]
    if worst is not None:
        named.append((worst.component, worst.version))
    named += [
        (system.component, system.version)
        for system in sorted(systems, key=lambda system: bool(system.path))
    ]
    for component, version in named:
        kind, _, name = component.partition(":")
        if not name or component.startswith(_NAMELESS):
            continue
        bare, in_key = split_version(component)
        name, shown = bare.partition(":")[2], _shown_version(version or in_key)
        kind = _KINDS.get(kind, kind)
        return f"{kind} {name}@{shown}" if shown else f"{kind} {name}"
    return None


def _shown_version(version: str | None) -> str | None:
    """Return a version for display: the beginning of a commit or digest."""
    if version is None or not _HEX.fullmatch(version):
        return version
    prefix, _, digits = version.rpartition(":")
    return f"{prefix}:{digits[:_DIGEST_SHOWN]}…" if prefix else f"{digits[:_DIGEST_SHOWN]}…"
