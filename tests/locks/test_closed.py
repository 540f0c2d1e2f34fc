"""Every shipped lock is closed: pip or uv finds everything in it without resolving."""

from __future__ import annotations

import json
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from agents.checks.packages.requirements import read_requirements

ROOT = Path(__file__).resolve().parents[2]
LOCKS = sorted(
    str(path.relative_to(ROOT)) for path in (*ROOT.glob("*.lock"), *ROOT.glob("locks/*.lock"))
)
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS = {
    "linux": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"},
    "darwin": {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix"},
}


class Asked(msgspec.Struct, frozen=True):
    """What a release asks for, as its metadata says."""

    requires: tuple[str, ...]
    extras: tuple[str, ...]


class Pin(NamedTuple):
    """A package of a lock that an environment gets."""

    version: str
    extras: frozenset[str]


# each lock is asked for eight machines
marker_of, requirement_of, requirements_of = (
    cache(Marker),
    cache(Requirement),
    cache(read_requirements),
)
METADATA = msgspec.json.decode((ROOT / "locks/metadata.json").read_bytes(), type=dict[str, Asked])


def environment(python: str, platform: str) -> dict[str, str]:
    """The values of markers on a machine."""
    return {
        "python_version": python,
        "python_full_version": f"{python}.1",
        "implementation_name": "cpython",
        "implementation_version": f"{python}.1",
        "platform_python_implementation": "CPython",
        "platform_machine": "x86_64",
        "platform_release": "6.1",
        "platform_version": "1",
        **PLATFORMS[platform],
    }


def pins(text: str, machine: dict[str, str]) -> dict[str, Pin]:
    """What a lock installs on a machine."""
    found = {}
    for line in requirements_of(text).lines:
        assert line.is_requirement, line
        assert line.name is not None
        assert line.version is not None
        if line.marker is None or marker_of(line.marker).evaluate(machine):
            name = canonicalize_name(line.name)
            assert name not in found, f"{name} twice"
            found[name] = Pin(line.version, frozenset(map(canonicalize_name, line.extras)))
    return found


def requirement(text: str) -> tuple[object, ...]:
    """A requirement in its one spelling."""
    read = Requirement(text)
    extras = frozenset(map(canonicalize_name, read.extras))
    return canonicalize_name(read.name), extras, str(read.specifier), str(read.marker), read.url


def open_ends(
    text: str, machine: dict[str, str], metadata: dict[str, Asked] = METADATA
) -> list[str]:
    """What packages of a lock ask for and the lock does not name."""
    held = pins(text, machine)
    found = []
    for name, pin in held.items():
        for asked in map(requirement_of, metadata[f"{name}=={pin.version}"].requires):
            if asked.marker and not any(
                asked.marker.evaluate({**machine, "extra": extra}) for extra in ("", *pin.extras)
            ):
                continue
            other = held.get(canonicalize_name(asked.name))
            if (
                other is None
                or not asked.specifier.contains(other.version, prereleases=True)
                or set(map(canonicalize_name, asked.extras)) - other.extras
            ):
                found.append(f"{name} asks for {asked}")
    return found


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_all_that_its_packages_ask_for(name, python, platform):
    assert open_ends((ROOT / name).read_text(), environment(python, platform)) == []


def test_incomplete_lock_is_detected():
    metadata = {
        "a==1.0": Asked(("b[mail]>=2 ; python_version < '3.13'",), ()),
        "b==2.0": Asked(("c; extra == 'mail'",), ("mail",)),
        "b==1.0": Asked((), ()),
        "c==1.0": Asked((), ()),
    }

    def ends(text: str, python: str = "3.11") -> list[str]:
        return open_ends(text, environment(python, "linux"), metadata)

    assert ends("a==1.0\nb[mail]==2.0\nc==1.0") == []
    assert ends("a==1.0\nb==2.0\nc==1.0") == ['a asks for b[mail]>=2; python_version < "3.13"']
    assert ends("a==1.0\nb==2.0", "3.13") == []
    assert ends("a==1.0\nb[mail]==2.0") == ['b asks for c; extra == "mail"']
    assert ends("a==1.0\nb[mail]==1.0") != []
    assert ends("a==1.0") != []


def test_the_metadata_beside_the_locks_is_what_the_installed_packages_say():
    compared = 0
    for release, asked in METADATA.items():
        name, _, version = release.partition("==")
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            continue
        if installed.version == version:
            compared += 1
            assert set(map(requirement, asked.requires)) == set(
                map(requirement, installed.requires or ())
            ), release
    assert compared > 100


def test_the_metadata_speaks_of_the_locked_releases_and_no_other():
    locked = {
        f"{canonicalize_name(line.name)}=={line.version}"
        for name in LOCKS
        for line in read_requirements((ROOT / name).read_text()).lines
        if line.name
    }
    assert locked == set(json.loads((ROOT / "locks/metadata.json").read_bytes()))
