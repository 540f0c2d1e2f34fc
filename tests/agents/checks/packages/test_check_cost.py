"""The cost of checking an install grows no faster than the install."""

from __future__ import annotations

import cProfile
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from agents.checks.packages.check import check_packages
from agents.checks.packages.closure import read_resolution
from agents.checks.packages.credentials import url_credentials
from agents.checks.packages.requirements import read_requirements, requirement_name
from agents.domain.knowledge import MemoryKnowledge
from schemas.events import TYPE_PACKAGE_INSTALL, Event, PackageInstall
from schemas.policy import Internal, Policy
from tests.agents.checks.provenance.pushes import NOW

SMALLEST = 300
GROWTH = 2.3
"""Of a doubling; what is quadratic makes it four."""
SPARE = 3_000


def package(number: int, **more: Any) -> dict[str, Any]:
    return {"name": f"pkg{number:x}", "version": "1.0", **more}


def hashes(number: int) -> dict[str, str]:
    return {"sha256": f"{number:064x}"}


INSTALLS: dict[str, Callable[[int], dict[str, Any]]] = {
    "urls": lambda count: {
        "packages": [package(number, url="http://e.example/a") for number in range(count)]
    },
    "one name": lambda count: {
        "packages": [
            {"name": "torch", "version": f"1.{number}", "hashes": hashes(number)}
            for number in range(count)
        ],
        "lock": {f"torch==1.{number}.0": [f"sha256:{number + 1:064x}"] for number in range(count)},
    },
    "other than locked": lambda count: {
        "packages": [package(number, hashes=hashes(number)) for number in range(count)],
        "lock": {
            f"pkg{number:x}==1.0": [f"sha256:{number + 1:064x}"] for number in range(count)
        },
    },
    "hashes of one": lambda count: {
        "packages": [package(1, hashes=hashes(0))],
        "lock": {"pkg1==1.0": [f"sha256:{number + 1:064x}" for number in range(count)]},
    },
    "ring": lambda count: {
        "packages": [
            package(number, requires_dist=[f"pkg{(number + 1) % count:x}>=1"])
            for number in range(count)
        ]
    },
    "fan": lambda count: {
        "packages": [
            package(0, requires_dist=[f"pkg{number:x}" for number in range(count)]),
            *(package(number) for number in range(1, count)),
        ]
    },
    "requirements": lambda count: {
        "packages": [package(number) for number in range(50)],
        "requirements": [
            f"pkg{number:x}>=1,<2 ; python_version<'3'" for number in range(count)
        ],
    },
    "one line": lambda count: {"packages": [package(1)], "requirements": ["pkg1==1.0 \\"] * count},
    "indexes": lambda count: {
        "packages": [
            package(number, index_url=f"https://x{number}.example/simple")
            for number in range(count)
        ],
        "extra_index_urls": [f"https://u:p@y{number}.example/simple" for number in range(count)],
    },
    "options": lambda count: {
        "packages": [package(1)],
        "requirements": [
            f"--extra-index-url https://user:pw{number}@x.example/simple"
            for number in range(count)
        ],
    },
    "imitations": lambda count: {
        "packages": [{"name": f"tensorflo{number:x}", "version": "1"} for number in range(count)]
    },
    "long names": lambda count: {
        "packages": [{"name": "a-" * 60 + f"{number:x}", "version": "1"} for number in range(count)]
    },
    "own names": lambda count: {
        "packages": [
            {"name": f"acme-{number:x}", "index_url": "https://index.example/simple"}
            for number in range(count)
        ]
    },
}  # fmt: skip


def knowing() -> MemoryKnowledge:
    knowledge = MemoryKnowledge()
    own = Internal(
        names=tuple(f"own-{number}" for number in range(50)),
        prefixes=("acme-",),
        indexes=("https://packages.acme.example/simple",),
    )
    knowledge.set_policy("tenant-a", Policy(tenant="tenant-a", internal=own))
    return knowledge


def cost(make: Callable[[int], dict[str, Any]], count: int) -> int:
    """Return how many functions are called: it depends on no machine."""
    event = Event(
        id="e-1",
        source="//ci",
        type=TYPE_PACKAGE_INSTALL,
        subject="host:x",
        time=NOW,
        tenantid="tenant-a",
        data=msgspec.convert(make(count), PackageInstall),
    )
    profile, knowledge = cProfile.Profile(), knowing()
    profile.enable()
    try:
        check_packages(event, knowledge)
    finally:
        profile.disable()
    return sum(function.callcount for function in profile.getstats())


@pytest.mark.slow
@pytest.mark.parametrize("name", INSTALLS)
def test_twice_the_install_is_at_most_twice_the_work(name: str) -> None:
    make = INSTALLS[name]
    cost(make, 10)  # imports what it uses
    before = cost(make, SMALLEST)
    for count in (2 * SMALLEST, 4 * SMALLEST):
        now = cost(make, count)
        assert now <= GROWTH * before + SPARE, (count, before, now)
        before = now


LONG = 200_000
PARTS = (
    "a", "a-", "a[", "[a]", "a @ ", " ", "1.", "==1", " --hash=sha256:ab", "${A}", "${", "\\\n",
    " #", ";", "(", "'", " --x", "http://u:p@", "a://", "a==1 # via b, ", ",c", "git+https://a@",
    "md5=",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_long_texts_are_read_at_all() -> None:
    """An expression that tries each beginning with each end would take hours."""
    read = set()
    for part in PARTS:
        for before in ("x", "x @ ", "-e ", "--index-url ", "# "):
            read_requirements(before + part * (LONG // len(part)))
        text = "x" + part * (LONG // len(part))
        list(read_resolution(text))
        list(url_credentials(text))
        read.add(requirement_name(text)[:1])
    assert read == {"x"}
