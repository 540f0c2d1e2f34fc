"""How versions are published, seen by pushes and by pulls: what changes, and what it amounts to."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.severity import Severity
from tests.agents.triage.flow import Flow
from tests.agents.triage.stories import MODEL, sighting
from tests.depth import examples

CHANGED, SUSPECT = "TW-LEDGER-PUBLISHING-CHANGED", "TW-LEDGER-PUBLISHING-SUSPECT"
ABSENT, MOVED = "TW-LEDGER-SIGNATURE-ABSENT", "TW-LEDGER-TAG-MOVED"
CI = {"account": "ci", "auth": "oidc", "mfa": True, "has_signature": True}


def published_as(number, kind="pulled", component=MODEL, **how):
    return sighting(
        component,
        "a",
        "host",
        number * 60,
        version=how.pop("version", f"r{number}"),
        digest=how.pop("digest", f"{number:064x}"),
        kind=kind,
        **how,
    )


def found(flow):
    """Return the findings that stand: rule and severity."""
    return {
        (finding.rule_id, finding.severity)
        for view in flow.alerts_of("a")
        for finding in view.findings
        if finding.active
    }


def after(*sightings):
    flow = Flow()
    flow.saw(*sightings)
    return flow


@pytest.mark.parametrize("kind", ["pushed", "pulled"])
@pytest.mark.parametrize(
    ("how", "severity"),
    [
        ({"auth": "token"}, Severity.MEDIUM),
        ({"mfa": False}, Severity.MEDIUM),
        ({"auth": "password", "mfa": False}, Severity.HIGH),
        ({"account": "me", "auth": "token"}, Severity.HIGH),
    ],
)
def test_a_weaker_way_of_publishing_is_reported_and_two_at_once_are_more_severe(
    kind, how, severity
):
    usual = [published_as(number, kind, **CI) for number in range(3)]
    flow = after(*usual, published_as(3, kind, **{**CI, **how}))
    levels = {
        indicator.severity for indicator in flow.iocs.values() if indicator.rule_id == CHANGED
    }
    assert levels == {severity}


@pytest.mark.parametrize("kind", ["pushed", "pulled"])
def test_three_at_once_are_a_finding_of_their_own(kind):
    usual = [published_as(number, kind, **CI) for number in range(3)]
    thief = {"account": "me", "auth": "password", "mfa": False, "has_signature": True}
    flow = after(*usual, published_as(3, kind, **thief))
    assert {(CHANGED, Severity.HIGH), (SUSPECT, Severity.HIGH)} <= found(flow)
    assert len(flow.alerts_of("a")) == 1


@pytest.mark.parametrize(
    "ways",
    [
        [{"account": "a"}, {"account": "b"}, {"account": "c"}],
        [{"auth": "token"}, {"auth": "token"}, {"auth": "oidc"}, {"auth": "oidc"}],
        [{"auth": "oidc"}, {"auth": "token"}, {"auth": "oidc"}, {"auth": "token"}],
        [{"mfa": True}, {"mfa": True}, {}],
        [{"auth": "oidc"}, {"auth": "token"}],
        [{"has_signature": True}, {"has_signature": True}, {"has_signature": False}],
    ],
    ids=["many accounts", "stronger", "both in use", "not said", "no habit yet", "signature alone"],
)
def test_unchanged_way_of_publishing_is_not_reported(ways):
    flow = after(*(published_as(number, **way) for number, way in enumerate(ways)))
    assert CHANGED not in {indicator.rule_id for indicator in flow.iocs.values()}


def test_another_account_alone_is_low():
    flow = after(
        *(published_as(number, account="ci") for number in range(3)), published_as(3, account="me")
    )
    assert {indicator.severity for indicator in flow.iocs.values()} == {Severity.LOW}


def test_releases_by_colleagues_in_an_own_registry_are_not_reported():
    own = "model:@a/registry/m"
    flow = after(
        *(published_as(number, "pushed", own, account="ci", auth="oidc") for number in range(3)),
        published_as(3, "pushed", own, account="me", auth="oidc"),
        published_as(4, "pushed", own, account="me", auth="token"),
    )
    assert {
        indicator.severity for indicator in flow.iocs.values() if indicator.rule_id == CHANGED
    } <= {Severity.LOW}


def test_statements_of_different_producers_are_not_compared():
    usual = [published_as(number, **CI) for number in range(3)]
    other = published_as(3, auth="token", account="mirror")
    flow = after(*usual, msgspec.structs.replace(other, source="//mirror"))
    assert not flow.iocs


@pytest.mark.parametrize("kinds", [("pushed", "pulled"), ("pulled", "pushed")])
@pytest.mark.parametrize("between", [False, True], ids=["none before", "one as usual before"])
def test_pulls_and_pushes_are_compared_with_each_other(kinds, between):
    usual, odd = kinds
    before = [published_as(number, usual, **CI) for number in range(3)]
    if between:
        # What was published as usual is pulled as well: it says nothing by itself.
        before.append(published_as(3, odd, version="r2", digest=f"{2:064x}", **CI))
    thief = {"account": "me", "auth": "token", "mfa": False, "has_signature": False}
    flow = after(*before, published_as(4, odd, **thief))
    assert {(CHANGED, Severity.HIGH), (SUSPECT, Severity.HIGH), (ABSENT, Severity.HIGH)} <= found(
        flow
    )


def test_a_producer_that_says_less_of_pulls_than_of_pushes_is_not_odd():
    pushes = [published_as(number, "pushed", **CI) for number in range(4)]
    pulls = [
        published_as(
            10 + number,
            "pulled",
            version=f"r{number}",
            digest=f"{number:064x}",
            account="mirror",
            auth="token",
            has_signature=False,
        )
        for number in range(4)
    ]
    assert not after(*pushes, *pulls).iocs


def test_weak_signs_of_several_versions_are_more_together():
    usual = [published_as(number, **CI) for number in range(3)]
    weaker = published_as(3, **{**CI, "mfa": False})
    unsigned = published_as(4, **{**CI, "has_signature": False})
    apart = [after(*usual, sign).alerts_of("a") for sign in (weaker, unsigned)]
    together = after(*usual, weaker, unsigned).alerts_of("a")
    most = max(view.score.value for view in together)
    assert most > max(view.score.value for views in apart for view in views)


def test_a_tag_of_a_dataset_that_gives_another_digest_is_reported():
    flow = after(
        *(
            published_as(
                number,
                component="dataset:hub/acme/reviews",
                version=DIGESTS[number],
                digest=DIGESTS[number][7:],
                tag="v1.2.0",
            )
            for number in range(2)
        )
    )
    assert (MOVED, Severity.HIGH) in found(flow)


def test_missing_signature_is_reported_on_pull():
    usual = [published_as(number, has_signature=True) for number in range(3)]
    assert (ABSENT, Severity.HIGH) in found(after(*usual, published_as(3, has_signature=False)))
    assert not found(after(*usual[:2], published_as(3, has_signature=False)))


@pytest.mark.parametrize("seed", range(3))
def test_a_pull_that_names_no_signature_lacks_it_where_all_before_it_named_one(seed):
    """A pull without files is never scanned: nobody will say more of it."""
    pulls = [published_as(number, has_signature=True) for number in range(3)]
    pulls.append(published_as(3, has_signature=None))
    random.Random(seed).shuffle(pulls)
    assert found(after(*pulls)) == {(ABSENT, Severity.HIGH)}


def test_pull_without_signatures_is_not_unsigned_without_a_habit():
    some = [published_as(number, has_signature=number > 1 or None) for number in range(4)]
    assert not after(*some).iocs
    pushes = [published_as(number, "pushed", has_signature=True) for number in range(3)]
    assert not after(*pushes, published_as(3, has_signature=None)).iocs
    assert not after(*pushes, published_as(3, "pushed", has_signature=None)).iocs


def test_a_publication_that_comes_late_takes_the_finding_back():
    flow = after(
        *(published_as(number, auth="oidc") for number in (1, 3)), published_as(4, auth="token")
    )
    assert [indicator.status for indicator in flow.iocs.values()] == ["active"]
    flow.saw(published_as(2, auth="token"))
    assert [indicator.status for indicator in flow.iocs.values()] == ["withdrawn"]


def test_combined_finding_ends_with_one_of_its_signs():
    takeover = ("TW-LEDGER-UNSIGNED-TAKEOVER", Severity.CRITICAL)
    flow = after(
        *(published_as(number, **CI) for number in range(3)),
        published_as(6, **{**CI, "mfa": False}),
        published_as(7, **{**CI, "has_signature": False}),
    )
    assert takeover in found(flow)
    # Late, and before both: the second factor was not the habit.
    flow.saw(published_as(5, **{**CI, "mfa": None}))
    assert {(ABSENT, Severity.HIGH)} == found(flow)


@settings(max_examples=examples(20), deadline=None)
@example(
    ways=[{"auth": "oidc"}, CI, CI, {"auth": "oidc"}, CI, {"auth": "token"}],
    seed=0,
)
@given(
    ways=st.lists(
        st.sampled_from([{"auth": "oidc"}, {"auth": "token"}, {"account": "me"}, {"mfa": False},
                         CI]),
        min_size=3,
        max_size=8,
    ),
    seed=st.integers(0, 2**16),
)  # fmt: skip
@example(ways=[CI, CI, {"account": "me"}, {"account": "me"}, CI], seed=1)
def test_findings_do_not_depend_on_order(ways, seed):
    sightings = [published_as(number, **way) for number, way in enumerate(ways)]
    mixed = list(sightings)
    random.Random(seed).shuffle(mixed)
    ends = []
    for inputs in (sightings, mixed):
        flow = Flow()
        for input_ in inputs:
            flow.saw(input_)
        ends.append(
            {(indicator.rule_id, indicator.event_id, indicator.severity)
             for indicator in flow.iocs.values() if indicator.status == "active"}
        )  # fmt: skip
    assert ends[0] == ends[1]


# -- tags and versions -----------------------------------------------------------------------------

DIGESTS = [f"sha256:{number:064x}" for number in range(3)]


@pytest.mark.parametrize(
    "kinds", [("pulled", "pulled"), ("pushed", "pulled"), ("pulled", "pushed")]
)
def test_a_release_tag_that_gives_another_digest_is_reported_for_pulls_as_for_pushes(kinds):
    flow = after(
        *(
            published_as(
                number, kind, version=DIGESTS[number], digest=DIGESTS[number][7:], tag="v1.2.0"
            )
            for number, kind in enumerate(kinds)
        )
    )
    assert (MOVED, Severity.HIGH) in found(flow)


def test_a_tag_that_returns_to_a_known_version_is_reported():
    pulls = [
        published_as(number, version=DIGESTS[which], digest=DIGESTS[which][7:], tag=tag)
        for number, (which, tag) in enumerate([(0, "v1.0.0"), (1, "v1.1.0"), (0, "v1.1.0")])
    ]
    assert (MOVED, Severity.HIGH) in found(after(*pulls))


@pytest.mark.parametrize("tag", ["latest", "main", "v1"])
def test_floating_tags_are_not_reported(tag):
    flow = after(
        *(
            published_as(number, version=DIGESTS[number], digest=DIGESTS[number][7:], tag=tag)
            for number in range(3)
        )
    )
    assert not flow.iocs


def pulled_file(number, path, content, **more):
    digest = f"{content:064x}"
    return published_as(
        number, version="v1.2", digest=digest, parts=(digest,), part_names=(path,), **more
    )


def test_a_file_of_a_version_that_is_pulled_with_other_content_is_reported():
    flow = after(pulled_file(0, "model.bin", 1), pulled_file(1, "model.bin", 2))
    (ioc,) = [
        indicator
        for indicator in flow.iocs.values()
        if indicator.rule_id == "TW-LEDGER-REVISION-DIGEST"
    ]
    assert ioc.evidence["file"] == "model.bin"
    assert flow.alerts_of("a")[0].root == f"{MODEL}@v1.2"


def test_other_files_of_a_version_are_no_other_content():
    flow = after(pulled_file(0, "q4.gguf", 1), pulled_file(1, "q8.gguf", 2))
    assert not flow.iocs
