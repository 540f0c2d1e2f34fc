"""The subject of a package install: everything that its checks need of the event, computed once."""

from __future__ import annotations

import msgspec

from agents.checks.packages.inside import came_from_inside
from agents.checks.packages.requirements import RequirementLine, name_at_start, read_lines
from agents.checks.packages.seen import SeenPackage, see
from schemas.components import component_key
from schemas.events import Event, Package, PackageInstall
from schemas.policy import Policy


class InstallSubject(msgspec.Struct, frozen=True, kw_only=True):
    """An install and what follows from it under its tenant's policy."""

    event: Event[PackageInstall]
    policy: Policy
    lines: tuple[RequirementLine, ...]
    """The requirements as pip reads them."""
    seen: tuple[SeenPackage, ...]
    """The packages; one with an internal name that came from outside is the public package."""
    inside: dict[int, bool | None]
    """By index in `seen`, for each internal name: whether an internal index served the package;
    None: the event does not show it."""
    misread: tuple[SeenPackage, ...] = ()
    """What refused lines seem to name: letters beyond ASCII that a reader takes for others."""

    @property
    def install(self) -> PackageInstall:
        """The event's data."""
        return self.event.data


def install_subject(event: Event[PackageInstall], policy: Policy) -> InstallSubject:
    """Return the subject of an install.

    Args:
        event: The install.
        policy: Its tenant's policy: internal names and indexes, trusted indexes.
    """
    install = event.data
    seen = [see(package, policy, event.tenantid) for package in install.packages]
    inside: dict[int, bool | None] = {}
    for index, entry in enumerate(seen):
        if not entry.internal or entry.local:
            continue
        inside[index] = came_from_inside(entry.package, install, policy)
        if inside[index] is False:
            public = component_key("pypi", entry.name)
            seen[index] = SeenPackage(
                entry.package, entry.name, public, entry.digest, internal=False
            )
    lines = tuple(read_lines(install.requirements)) if install.requirements else ()
    return InstallSubject(
        event=event,
        policy=policy,
        lines=lines,
        misread=tuple(
            see(Package(name=name), policy, event.tenantid)
            for name in dict.fromkeys(name_at_start(line) for line in lines if line.error)
            if name and not name.isascii()
        ),
        seen=tuple(seen),
        inside=inside,
    )
