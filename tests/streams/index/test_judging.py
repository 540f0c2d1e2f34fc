"""What an index refuses: known bad, imitations, too young, and what can't be checked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.domain.knowledge import MemoryKnowledge
from schemas.errors import TidewatchError
from schemas.intel import IntelFact, IntelKind
from schemas.policy import Internal, Policy
from schemas.severity import Severity
from streams.index.config import (
    IndexConfig,
    IndexConfigError,
    OnUnknown,
    Upstream,
    load_config,
    read_config,
    target_of,
)
from streams.index.judging import Refusal, RefusalReason, is_own_name, judge_file, judge_project
from streams.index.pages import IndexFile

NOW = datetime(2026, 11, 20, tzinfo=UTC)
DIGEST = "a" * 64
CONFIG = IndexConfig(tenant="acme")
FILE = IndexFile(
    filename="demo-1.0-py3-none-any.whl",
    url="https://files.example/demo.whl",
    sha256=DIGEST,
    uploaded=NOW - timedelta(days=10),
)


def knowing(*facts: IntelFact, **policy: Any) -> MemoryKnowledge:
    knowledge = MemoryKnowledge()
    for fact in facts:
        knowledge.set_fact(fact.key, fact)
    knowledge.set_policy("acme", Policy(tenant="acme", **policy))
    return knowledge


def fact(key: str, **fields: Any) -> IntelFact:
    return IntelFact(**{"key": key, "kind": IntelKind.MALICIOUS, **fields})


def judged(
    *facts: IntelFact, config: IndexConfig = CONFIG, name: str = "demo", **changes: Any
) -> str | None:
    file = msgspec.structs.replace(FILE, **changes)
    refusal = judge_file(file, name, config, knowing(*facts), NOW)
    return refusal.code if refusal is not None else None


@pytest.mark.parametrize(
    ("known", "code"),
    [
        (fact("pypi:demo", versions=("1.0",)), "known-malicious"),
        (fact("pypi:demo", versions=("1.1",)), None),
        (fact("pypi:demo", digests=(DIGEST,)), "known-malicious"),
        (fact("pypi:demo", digests=("b" * 64,)), None),
        (fact(f"sha256:{DIGEST}", kind=IntelKind.COMPROMISED), "known-compromised"),
        (fact("pypi:demo", versions=("1.0",), kind=IntelKind.WITHDRAWN), None),
    ],
)
def test_a_known_bad_release_is_refused(known: IntelFact, code: str | None) -> None:
    assert judged(known) == code
    allowed = msgspec.structs.replace(CONFIG, allow=("Demo",))
    assert judged(known, config=allowed) == code, "to be allowed does not make it good"


def test_of_a_file_without_a_version_a_bad_one_is_feared() -> None:
    known = fact("pypi:demo", versions=("1.0",))
    assert judged(known, filename="demo.exe") == "known-malicious"
    assert judged(filename="demo.exe") is None


def test_release_that_is_too_young_or_undated_is_refused() -> None:
    assert judged(uploaded=NOW - timedelta(days=2)) == "younger-than-3-days"
    assert judged(uploaded=NOW - timedelta(days=3)) is None
    assert judged(uploaded=NOW + timedelta(days=9)) == "younger-than-3-days"
    assert judged(uploaded=None) == "of-unknown-age"
    open_ = msgspec.structs.replace(CONFIG, unknown=OnUnknown.ADMIT)
    assert judged(uploaded=None, config=open_) is None
    assert judged(uploaded=NOW, config=open_) == "younger-than-3-days"
    assert judged(uploaded=None, config=msgspec.structs.replace(CONFIG, min_age_days=0)) is None
    assert judged(uploaded=NOW, config=msgspec.structs.replace(CONFIG, allow=("demo",))) is None


def test_uncheckable_or_foreign_file_is_refused() -> None:
    assert judged(sha256=None) == "without-sha256"
    open_ = msgspec.structs.replace(CONFIG, unknown=OnUnknown.ADMIT)
    assert judged(sha256=None, config=open_) is None
    assert judged(name="other") == "of-another-project"


def project(name: str, *facts: IntelFact, **changes: Any) -> Refusal | None:
    config = msgspec.structs.replace(CONFIG, **changes)
    return judge_project(name, config, knowing(*facts, blocked_sources=("pypi:blocked",)))


def test_names_that_imitate_are_refused_unless_known_or_allowed() -> None:
    refusal = project("requestss")
    assert refusal is not None
    assert (refusal.code, "requests" in refusal.text) == ("looks-like-requests", True)
    assert refusal.reason is RefusalReason.IMITATION
    assert project("requests") is None
    assert project("requestss", allow=("requestss",)) is None
    assert project("requestss", imitations=Severity.CRITICAL) is None
    good = fact("pypi:requestss", kind=IntelKind.KNOWN_GOOD)
    assert project("requestss", good) is None


def test_a_project_that_is_bad_altogether_or_blocked_is_refused() -> None:
    refusal = project("demo", fact("pypi:demo", summary="steals\x1b[2J tokens"), allow=("demo",))
    assert refusal is not None
    assert (refusal.code, refusal.reason) == ("known-malicious", RefusalReason.KNOWN_BAD)
    assert "steals" in refusal.text
    assert "\x1b" not in refusal.text
    assert project("demo", fact("pypi:demo", versions=("1.0",))) is None
    blocked = project("blocked")
    assert blocked is not None
    assert (blocked.code, blocked.reason) == ("blocked-by-policy", RefusalReason.BLOCKED)


def test_the_tenants_own_names_are_not_asked_for() -> None:
    knowledge = knowing(internal=Internal(prefixes=("acme-",), names=("Demo_Own",)))
    own = ["acme-tools", "demo-own"]
    assert [is_own_name(name, CONFIG, knowledge) for name in [*own, "demo"]] == [True, True, False]
    assert not is_own_name("demo", CONFIG, knowing())


def test_the_upstream_is_what_pip_asks_and_its_password_is_never_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:p%40ss-word-1@index.example/simple")
    target = target_of(Upstream())
    assert (target.url, target.username) == ("https://index.example/simple/", "me")
    assert target.password == "p@ss-word-1"
    assert "p@ss" not in repr(target)
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef\n")
    named = Upstream(url="http://other.example/x/", username="u", password=f"file:{secret}")
    assert target_of(named).password == "0123456789abcdef"
    monkeypatch.setenv("PIP_INDEX_URL", "file:///srv/index")
    with pytest.raises(TidewatchError, match="not an http"):
        target_of(Upstream())


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "tenant"),
        ('tenant = " "', "tenant is empty"),
        ('tenant = "a"\nmin_age_days = -1', "min_age_days"),
        ('tenant = "a"\n[upstream]\nurl = "index.example"', "http"),
        ('tenant = "a"\n[upstream]\nurl = "https://u:p@index.example/"', "credentials"),
        ('tenant = "a"\n[upstream]\nusername = "u"', "together"),
        ('tenant = "a"\n[listen]\nhost = "0.0.0.0"', "not loopback"),
    ],
)
def test_configuration_error_names_the_field(text: str, what: str) -> None:
    with pytest.raises(IndexConfigError, match=what):
        read_config(text)


def test_the_example_is_valid() -> None:
    example = Path(__file__).parents[3] / "deploy" / "index.example.toml"
    assert load_config(example).upstream.url
