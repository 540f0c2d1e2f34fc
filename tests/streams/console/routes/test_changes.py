"""Policies are checked and compared before they are set; dead letters are replayed."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
import zipfile

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agents.intelligence.snapshot import SnapshotManifest, signed_bytes
from streams.console.config import ConsoleConfig, IntelligenceConfig
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
    from streams.console.queries import IndexReader  # noqa: PLC0415 -- beside its use

    return IndexReader(changed.services.index, OPERATOR).policy("acme")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('tenant = "acme"', 'tenant = "globex"', "globex&#39;s policy"),
        ("version = 2", "version = 1", "not above the current one"),
        ("dry_run", "dry_rum", "unknown fields: dry_rum"),
        ("dry_run = false", 'dry_run = "no"', "Expected `bool`"),
        ("dry_run = false", "dry_run = ", "not a policy"),
    ],
)
def test_invalid_policy_is_shown_again_with_the_reason(changed, old, new, said):
    browser = changed.browser(OPERATOR)
    page = browser.get("/policy/edit?tenant=acme").text
    text = field(page, "policy").replace(old, new)
    for step in ("check", "set"):
        answer = sent(browser, page, policy=text, step=step)
        assert answer.status_code == 422
        assert said.lower() in answer.text.lower()
        assert field(answer.text, "policy") == text.rstrip("\n")
    assert not changed.services.change.policies


def test_concurrent_policy_change_is_not_overwritten(changed):
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
    (path,) = [link for link in links(browser.get("/dead-letters").text) if "/dead-letter?" in link]
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
        ({"source": "../../x y"}, "the name of the source is invalid"),
    ],
)
def test_invalid_feed_is_shown_again_with_the_reason(changed, more, said):
    for step in ("check", "import"):
        answer = imported(changed.browser(OPERATOR), step, **more)
        assert answer.status_code == 422
        assert said in answer.text.lower()
    assert not changed.services.change.known


# -- files ---------------------------------------------------------------------------------------


def uploaded(browser, raw: bytes, name: str = "feed.txt", manifest: bytes | None = None, **more):
    """Send a file as a browser does."""
    fields = {"csrf": browser.csrf(), "step": "check", "kind": "auto", "source": "partner", **more}
    files = {"file": (name, raw)}
    if manifest is not None:
        files["manifest"] = ("manifest.json", manifest)
    return browser.post("/intelligence/import", fields, files=files)


def archived() -> bytes:
    """Return an archive of one record."""
    record = {
        "id": "MAL-2026-1", "modified": "2026-11-20T00:00:00Z", "summary": "steals",
        "affected": [{"package": {"ecosystem": "PyPI", "name": "acme-evil"}, "versions": ["1.0"]}],
    }  # fmt: skip
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("MAL-2026-1.json", json.dumps(record))
    return made.getvalue()


def test_a_file_is_compared_before_what_was_compared_is_imported(changed):
    browser = changed.browser(OPERATOR)
    assert 'enctype="multipart/form-data"' in browser.get("/intelligence/import").text
    compared = uploaded(browser, archived(), "all.zip")
    assert compared.status_code == 200, compared.text
    assert "1 fact new or changed, 0 withdrawn" in compared.text
    assert "all.zip" in compared.text
    assert "acme-evil" in compared.text
    assert not changed.services.change.known
    fields = {name: field(compared.text, name) for name in ("csrf", "kind", "source", "upload")}
    other = changed.browser(OPERATOR)
    stolen = other.post("/intelligence/import", {**fields, "csrf": other.csrf(), "step": "import"})
    assert stolen.status_code == 422
    assert "uploaded file is not available" in stolen.text
    assert not changed.services.change.known
    done = browser.post("/intelligence/import", {**fields, "step": "import"})
    assert done.headers["location"] == "/intelligence?done=imported"
    assert set(changed.services.change.known) == {"pypi:acme-evil"}
    again = browser.post("/intelligence/import", {**fields, "step": "import"})
    assert again.status_code == 422


@pytest.mark.parametrize(
    ("raw", "more", "status", "said"),
    [
        (b"not a feed", {}, 422, "neither a zip archive nor json"),
        (b"PK\x03\x04 broken", {}, 422, "archive"),
        (b"\xff\xfe\x00", {"kind": "blocklist"}, 422, "not a text file"),
        (b"", {}, 422, "neither a zip archive nor json"),
        (b"x" * (1 << 20), {}, 413, "more than 1048576 bytes"),
        (BLOCKLIST.encode(), {"kind": "blocklist", "csrf": "guessed"}, 403, "another session"),
    ],
    ids=["no feed", "no archive", "no text", "empty", "too large", "forged"],
)
def test_a_file_that_is_no_feed_or_of_elsewhere_changes_nothing(changed, raw, more, status, said):
    answer = uploaded(changed.browser(OPERATOR), raw, **more)
    assert answer.status_code == status
    assert said in answer.text.lower()
    assert not changed.services.change.known


def test_the_name_of_a_file_becomes_no_markup(changed):
    answer = uploaded(changed.browser(OPERATOR), b"x", "<img src=x>\u202e.zip")
    assert answer.status_code == 422
    assert "<img src=x>" not in answer.text
    assert "\u202e" not in answer.text


def test_other_forms_carry_no_files(changed):
    browser = changed.browser(OPERATOR)
    answer = browser.post("/fact", {"csrf": browser.csrf()}, files={"file": ("a", b"b")})
    assert answer.status_code == 415


@pytest.fixture
def signing(index, tmp_path):
    """A console that imports only what a publisher signed, and what signs."""
    private = Ed25519PrivateKey.generate()
    key = tmp_path / "feeds.pem"
    key.write_bytes(
        private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    config = ConsoleConfig(intelligence=IntelligenceConfig(key=key))

    def sign(raw: bytes, count: int = 1) -> bytes:
        made = SnapshotManifest(
            source="feed", count=count, sha256=hashlib.sha256(raw).hexdigest(),
            created="2026-11-20T00:00:00Z", key_id="feeds-2026",
        )  # fmt: skip
        signature = base64.b64encode(private.sign(signed_bytes(made))).decode()
        return msgspec.json.encode(msgspec.structs.replace(made, signature=signature))

    with site(index, change=Changed(), config=config) as made:
        yield made, sign


def test_where_a_key_is_configured_a_feed_must_be_signed_by_it(signing):
    site_, sign = signing
    browser, raw = site_.browser(OPERATOR), archived()
    assert "<textarea" not in browser.get("/intelligence/import").text
    wrong = sign(raw).replace(b"feeds-2026", b"feeds-2027")
    for answer, said in (
        (imported(browser, "import"), "the feed is unsigned"),
        (uploaded(browser, raw), "the feed is unsigned"),
        (uploaded(browser, raw, manifest=wrong), "signature is wrong"),
        (uploaded(browser, raw + b" ", manifest=sign(raw)), "not the one that was signed"),
        (uploaded(browser, raw, manifest=sign(raw, 2)), "where 2 were signed"),
    ):
        assert answer.status_code == 422
        assert said in answer.text.lower()
    compared = uploaded(browser, raw, manifest=sign(raw))
    assert "signed by" in compared.text
    assert "feeds-2026" in compared.text
    fields = {name: field(compared.text, name) for name in ("csrf", "kind", "source", "upload")}
    assert not site_.services.change.known
    browser.post("/intelligence/import", {**fields, "step": "import"})
    assert set(site_.services.change.known) == {"pypi:acme-evil"}


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
