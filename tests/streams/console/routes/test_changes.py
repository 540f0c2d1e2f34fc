"""What an admin changes: policies, checked and compared first, and dead letters, replayed."""

from __future__ import annotations

import html
import re

import msgspec
import pytest

from streams.console.viewer import Role, Viewer
from tests.streams.console.site import ACME, OPERATOR, Changed, links, site

APPROVER = Viewer(name="amy@acme.example", role=Role.APPROVER, tenants=("acme",))


@pytest.fixture
def changed(index):
    with site(index, change=Changed()) as made:
        yield made


def field(text: str, name: str) -> str:
    """Return the value of a form's field."""
    found = re.search(rf'name="{name}"[^>]*value="([^"]*)"', text) or re.search(
        rf'<textarea name="{name}"[^>]*>\n(.*?)</textarea>', text, re.DOTALL
    )
    assert found is not None, name
    return html.unescape(found[1])


def sent(browser, page: str, **more: str):
    """Send the form of a page on."""
    fields = {name: field(page, name) for name in ("csrf", "tenant", "before", "policy")}
    return browser.post("/policy/edit", {**fields, **more})


def test_a_policy_is_compared_before_it_is_set(changed):
    browser = changed.browser(ACME)
    page = browser.get("/policy/edit?tenant=acme").text
    policy = field(page, "policy")
    assert 'tenant = "acme"\nversion = 2\n' in policy
    compared = sent(browser, page, policy=policy.replace("dry_run = false", "dry_run = true"))
    assert compared.status_code == 200
    rows = re.findall(r'<tr class="(added|removed)">.*?<td class="key">(.*?)</td>', compared.text)
    assert [(what, line.replace("<wbr>", "")) for what, line in rows] == [
        ("removed", "version = 1"),
        ("added", "version = 2"),
        ("removed", "dry_run = false"),
        ("added", "dry_run = true"),
    ]
    assert not changed.services.change.policies
    done = sent(browser, compared.text, step="set")
    assert done.headers["location"] == "/policy?tenant=acme&written=2"
    (policy,) = changed.services.change.policies
    before = browser_policy(changed)
    assert policy == msgspec.structs.replace(before, version=2, dry_run=True)
    assert "Version 2 was written" in browser.get(done.headers["location"]).text


def browser_policy(changed):
    from streams.console.queries import Reader  # noqa: PLC0415 -- beside its use

    return Reader(changed.services.index, OPERATOR).policy("acme")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('tenant = "acme"', 'tenant = "globex"', "globex&#39;s policy"),
        ("version = 2", "version = 1", "not above the one that is set"),
        ("dry_run", "dry_rum", "unknown fields: dry_rum"),
        ("dry_run = false", 'dry_run = "no"', "Expected `bool`"),
        ("dry_run = false", "dry_run = ", "not a policy"),
    ],
)
def test_what_is_no_policy_of_this_tenant_comes_back_with_the_reason(changed, old, new, said):
    browser = changed.browser(OPERATOR)
    page = browser.get("/policy/edit?tenant=acme").text
    text = field(page, "policy").replace(old, new)
    for step in ("check", "set"):
        answer = sent(browser, page, policy=text, step=step)
        assert answer.status_code == 422
        assert said.lower() in answer.text.lower()
        assert field(answer.text, "policy") == text.rstrip("\n")
    assert not changed.services.change.policies


def test_what_somebody_else_set_meanwhile_is_not_overwritten_unseen(changed):
    browser = changed.browser(OPERATOR)
    page = browser.get("/policy/edit?tenant=acme").text
    answer = sent(browser, page, step="set", before="0" * 64)
    assert answer.status_code == 409
    assert "changed meanwhile" in answer.text
    assert not changed.services.change.policies


def test_a_text_that_is_too_long_is_refused_and_not_cut(changed):
    browser = changed.browser(OPERATOR)
    page = browser.get("/policy/edit?tenant=acme").text
    long = field(page, "policy") + "# " + "x" * 300_000
    assert sent(browser, page, policy=long).status_code == 413


def test_a_setting_that_does_nothing_is_noted(changed):
    browser = changed.browser(OPERATOR)
    page = browser.get("/policy/edit?tenant=acme").text
    text = field(page, "policy").replace("required_checks = []", 'required_checks = ["nonsense"]')
    answer = sent(browser, page, policy=text)
    assert "do not do what they seem to do" in answer.text


@pytest.mark.parametrize("viewer", [APPROVER, ACME], ids=["role", "tenant"])
def test_only_an_admin_of_the_tenant_edits(changed, viewer):
    browser = changed.browser(viewer)
    tenant = "acme" if viewer is APPROVER else "globex"
    page = changed.browser(OPERATOR).get(f"/policy/edit?tenant={tenant}").text
    expected = 403 if viewer is APPROVER else 404
    assert browser.get(f"/policy/edit?tenant={tenant}").status_code == expected
    answer = sent(browser, page, csrf=browser.csrf(), step="set")
    assert answer.status_code == expected
    assert not changed.services.change.policies
    assert "/policy/edit" not in changed.browser(APPROVER).get("/policy?tenant=acme").text


def test_a_form_of_another_session_sets_nothing(changed):
    page = changed.browser(OPERATOR).get("/policy/edit?tenant=acme").text
    assert sent(changed.browser(OPERATOR), page, step="set").status_code == 403
    assert not changed.services.change.policies


# -- dead letters --------------------------------------------------------------------------------


def letter_of(browser) -> str:
    (path,) = [one for one in links(browser.get("/dead-letters").text) if "/dead-letter?" in one]
    return path


def test_a_dead_letter_is_replayed_by_an_admin_who_may_read_it(changed):
    browser = changed.browser(ACME)
    page = browser.get(letter_of(browser)).text
    key = field(page, "key")
    done = browser.post("/dead-letter", {"csrf": field(page, "csrf"), "key": key})
    assert changed.services.change.replayed == [key]
    assert "1 record written back" in browser.get(done.headers["location"]).text


def test_nobody_replays_what_they_may_not_read_or_without_the_role(changed):
    browser = changed.browser(ACME)
    own = field(browser.get(letter_of(browser)).text, "key")
    others = own.replace("acme", "globex")
    assert others != own
    operator = changed.browser(OPERATOR)
    assert others in operator.get("/dead-letters").text.replace("<wbr>", "")
    csrf = browser.csrf()
    assert browser.post("/dead-letter", {"csrf": csrf, "key": others}).status_code == 404
    low = changed.browser(APPROVER)
    assert low.post("/dead-letter", {"csrf": low.csrf(), "key": own}).status_code == 403
    assert "Replay</button>" not in low.get(letter_of(low)).text
    assert changed.services.change.replayed == []


# -- intelligence --------------------------------------------------------------------------------

BLOCKLIST = "pypi:acme-evil\npypi:acme-worse\n"


def imported(browser, step: str, feed: str = BLOCKLIST, kind: str = "blocklist", **more: str):
    return browser.post(
        "/intelligence/import",
        {"csrf": browser.csrf(), "step": step, "kind": kind, "source": "night-shift",
         "feed": feed, **more},
    )  # fmt: skip


def test_a_list_is_compared_before_it_is_imported(changed):
    browser = changed.browser(OPERATOR)
    compared = imported(browser, "check")
    assert "2 facts new or changed, 0 withdrawn" in compared.text
    assert not changed.services.change.known
    fields = {name: field(compared.text, name) for name in ("csrf", "kind", "source", "feed")}
    assert fields["feed"] == BLOCKLIST.rstrip()
    done = browser.post("/intelligence/import", {**fields, "step": "import"})
    known = changed.services.change.known
    assert set(known) == {"pypi:acme-evil", "pypi:acme-worse"}
    assert known["pypi:acme-evil"].sources == ("list:night-shift",)
    assert "was imported" in browser.get(done.headers["location"]).text
    shorter = imported(browser, "check", feed="pypi:acme-evil\n")
    assert "0 facts new or changed, 1 withdrawn, 1 as they were" in shorter.text


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"kind": "auto", "feed": "not a feed"}, "neither a zip archive nor json"),
        ({"source": "../../x y"}, "the source has no such name"),
    ],
)
def test_what_is_no_feed_comes_back_with_the_reason(changed, more, said):
    for step in ("check", "import"):
        answer = imported(changed.browser(OPERATOR), step, **more)
        assert answer.status_code == 422
        assert said in answer.text.lower()
    assert not changed.services.change.known


def test_a_fact_is_withdrawn(changed):
    browser = changed.browser(OPERATOR)
    page = browser.get("/fact?key=pypi:litellm").text
    done = browser.post("/fact", {"csrf": field(page, "csrf"), "key": field(page, "key")})
    assert changed.services.change.withdrawn == ["pypi:litellm"]
    assert "was withdrawn" in browser.get(done.headers["location"]).text
    unknown = browser.post("/fact", {"csrf": browser.csrf(), "key": "pypi:nothing"})
    assert unknown.status_code == 404


@pytest.mark.parametrize(
    "viewer", [ACME, Viewer(name="a", role=Role.APPROVER, tenants="*")], ids=["tenant", "role"]
)
def test_only_the_operators_admins_change_intelligence(changed, viewer):
    browser = changed.browser(viewer)
    assert browser.get("/intelligence/import").status_code == 403
    assert imported(browser, "import").status_code == 403
    fields = {"csrf": browser.csrf(), "key": "pypi:litellm"}
    assert browser.post("/fact", fields).status_code == 403
    assert not changed.services.change.known
    assert not changed.services.change.withdrawn
