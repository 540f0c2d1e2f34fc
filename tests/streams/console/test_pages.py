"""Every page, read by the operator and by tenants: nothing of another tenant, nothing that runs.

Over 500 lines, since its tests share one console.
"""

from __future__ import annotations

import asyncio
import html
import re
import threading
from html.parser import HTMLParser

import msgspec
import pytest
import requests
from starlette.requests import ClientDisconnect, Request

from schemas.channels import Channel
from streams.console.pages import POLICY, breakable, coded, shown
from streams.console.signed_in import local_target
from streams.console.viewer import Role, Viewer
from tests.streams.console.played import fill, indexed, record
from tests.streams.console.site import ACME, GLOBEX, OPERATOR, SECONDS, Browser, links, site
from tests.streams.reports.test_hostile_names import HOSTILE, driving

OTHERS = {
    "acme": ("northwind", "globex", "initech", "umbra"),
    "globex": ("northwind", "initech", "umbra", "acme"),
}
PAGES = (
    "/",
    "/incidents",
    "/components",
    "/indicators",
    "/holds",
    "/dead-letters",
    "/policies",
    "/producers",
    "/intelligence",
    "/health",
)
VOID = frozenset({"meta", "link", "input", "br", "wbr", "img", "hr", "path", "rect"})


class Checked(HTMLParser):
    """Reads a page, and notes what must not be in it."""

    def __init__(self) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.open: list[str] = []
        self.ids: list[str] = []
        self.labelled = 0

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script" and not (given.get("src") or "").startswith("/static/"):
            self.wrong.append("inline script")
        if tag in {"style", "iframe", "object", "embed", "base"}:
            self.wrong.append(tag)
        for name, value in given.items():
            if name.startswith("on") or name == "style":
                self.wrong.append(f"{tag} {name}")
            local = (value or "").startswith(("/", "#", "?"))
            if name in {"href", "src", "action"} and not local:
                self.wrong.append(f"{tag} {name}={value}")
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "img" and "alt" not in given:
            self.wrong.append("img without alt")

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> closes nothing")


def check_page(path: str, text: str) -> None:
    checked = Checked()
    checked.feed(text)
    checked.close()
    assert not checked.wrong, (path, checked.wrong)
    assert not checked.open, (path, checked.open)
    assert len(checked.ids) == len(set(checked.ids)), (path, "an id twice")
    assert len(re.findall("<h1", text)) == 1, path
    assert not re.search(r"<li[^>]*>\s*<[uo]l", text), (path, "an item that is only a list")
    assert not driving(text.replace("\t", ""), lines=True), path


@pytest.fixture(scope="module")
def crawled(console):
    """Every page that each of three people reaches."""
    return {viewer.name: console.browser(viewer).crawl() for viewer in (OPERATOR, ACME, GLOBEX)}


def test_every_page_answers_and_is_well_formed(crawled):
    for pages in crawled.values():
        assert len(pages) > 25
        for path, answer in pages.items():
            assert answer.status_code == 200, path
            kind = answer.headers["content-type"]
            if kind.startswith("text/html") and "content-disposition" not in answer.headers:
                check_page(path, answer.text)


def test_every_answer_forbids_what_no_page_needs(crawled):
    for path, answer in crawled[OPERATOR.name].items():
        headers = answer.headers
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["referrer-policy"] == "same-origin", path
        policy = headers["content-security-policy"]
        if "content-disposition" in headers:
            assert policy.startswith("sandbox; default-src 'none'"), path
        else:
            assert policy == POLICY, path
            assert "unsafe" not in policy
        if not path.startswith("/static/"):
            assert headers["cache-control"] == "no-store", path


def test_the_operator_reaches_every_page_of_the_navigation(crawled):
    assert set(PAGES) <= set(crawled[OPERATOR.name])


@pytest.mark.parametrize("viewer", [ACME, GLOBEX], ids=lambda viewer: viewer.tenants[0])
def test_no_page_that_a_tenant_reaches_names_another(crawled, viewer):
    (tenant,) = viewer.tenants
    pages = crawled[viewer.name]
    assert set(PAGES) - {"/intelligence"} <= set(pages)
    for path, answer in pages.items():
        for other in OTHERS[tenant]:
            assert other not in answer.text, (path, other)
            assert other not in path
    assert any(tenant in answer.text for answer in pages.values())


@pytest.mark.parametrize("viewer", [ACME, GLOBEX], ids=lambda viewer: viewer.tenants[0])
def test_an_address_of_somebody_else_shows_a_tenant_nothing_of_others(console, crawled, viewer):
    """Addresses are shared and guessed: each that the operator reaches is asked for."""
    (tenant,) = viewer.tenants
    browser = console.browser(viewer)
    refused = 0
    for path in crawled[OPERATOR.name]:
        if path.startswith("/static/"):
            continue
        answer = browser.get(path)
        assert answer.status_code in {200, 403, 404, 409}, path
        refused += answer.status_code != 200
        said = answer.text
        for name, value in re.findall(r"[?&;]([a-z]+)=([^&\"]*)", path):
            # what was asked for itself is no answer
            del name
            said = said.replace(value, "")
        for other in OTHERS[tenant]:
            assert other not in said, (path, other)
    assert refused > 10


def test_missing_and_foreign_pages_look_alike(console, crawled):
    browser = console.browser(ACME)
    own = set(crawled[ACME.name])
    foreign = next(
        path
        for path in crawled[OPERATOR.name]
        if path.startswith("/incidents/inc-")
        and "export" not in path
        and path not in own
        and browser.get(path).status_code == 404
    )
    one, other = browser.get(foreign), browser.get("/incidents/inc-ffffffffffffffff")
    assert one.status_code == other.status_code == 404
    strip = re.compile(r"/incidents/inc-[0-9a-f]+")
    assert strip.sub("", one.text) == strip.sub("", other.text)


def test_intelligence_is_the_operators(console):
    assert console.browser(OPERATOR).get("/intelligence").status_code == 200
    for path in ("/intelligence", "/fact?key=pypi:litellm"):
        assert console.browser(ACME).get(path).status_code == 403


def test_names_that_are_hostile_are_text_on_every_page(played, tmp_path):
    """Each text of some records is hostile; every page that shows them is read."""
    records = []
    for channel, entry in played.records:
        if channel not in {Channel.INCIDENTS, Channel.ALERTS, Channel.IOCS, Channel.OBSERVATIONS,
                           Channel.HOLDS, Channel.INTEL, Channel.OPERATOR_ALERTS,
                           Channel.POLICY} or entry.value is None:  # fmt: skip
            continue
        records.append((channel, msgspec.structs.replace(entry, value=poisoned(entry.value))))
    poisoned_index = indexed(tmp_path, records[-400:] + records[:200])
    with site(poisoned_index) as made:
        pages = made.browser(OPERATOR).crawl(8)
    poisoned_index.close()
    shown_on = 0
    for path, answer in pages.items():
        text = answer.text
        if answer.headers["content-type"].startswith("text/html") and (
            "content-disposition" not in answer.headers
        ):
            check_page(path, text)
        assert "<img/src=x" not in text, path
        shown_on += "onerror" in text
    assert shown_on > 15


def poisoned(raw: bytes) -> bytes:
    """Return a document whose free texts are hostile."""
    names = {"title", "description", "text", "summary", "detail", "subject", "system", "reason",
             "status_text", "component", "origin", "publisher", "name", "version", "source",
             "pattern_why", "message", "next_action", "remediation", "known_by", "why", "target",
             "runbook", "root", "value"}  # fmt: skip

    def changed(value, name=""):
        if isinstance(value, dict):
            return {key: changed(inner, key) for key, inner in value.items()}
        if isinstance(value, list):
            return [changed(inner, name) for inner in value]
        return f"{value}{HOSTILE}" if isinstance(value, str) and name in names else value

    return msgspec.json.encode(changed(msgspec.json.decode(raw)))


def test_a_dead_letter_is_shown_as_text(console):
    browser = console.browser(OPERATOR)
    found = [path for path in links(browser.get("/dead-letters").text) if "/dead-letter?" in path]
    assert len(found) == 2
    text = browser.get(found[0]).text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\u001b[2J" in text


def test_shown_and_breakable_texts_are_harmless():
    assert shown(HOSTILE) != HOSTILE
    assert not driving(str(shown(HOSTILE)), lines=False)
    assert "<img" not in breakable(HOSTILE)
    long = "model:huggingface/some-organisation/some-model@9f2b1c7e4d5a60718293a4b5c6d7e8f9"
    assert "<wbr>" in breakable(long)
    assert breakable(long).replace("<wbr>", "") == long


# -- lists ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("", 5),
        ("?severity=critical", 3),
        ("?q=litellm", 1),
        ("?tenant=umbra", 2),
        ("?assignee=nobody", 5),
        ("?assignee=me", 0),
        ("?waiting=1", 4),
        ("?status=closed", 0),
        ("?status=no-such-status&severity=no-such&sort=no-such&page=-7", 5),
        ("?since=1h", 0),
        ("?page=999999999999", 5),
    ],
)
def test_a_link_to_a_list_shows_the_same_list_to_every_reader(console, query, rows):
    text = console.browser(OPERATOR).get(f"/incidents{query}").text
    assert len(set(re.findall(r'id="case-[^"]*"', text))) == rows


def test_a_time_that_is_none_is_said_so(console):
    answer = console.browser(OPERATOR).get("/incidents?since=yesterday-ish")
    assert answer.status_code == 400
    assert "is not a time" in answer.text


def test_an_incident_is_exported_as_reports_are(console):
    browser = console.browser(OPERATOR)
    path = next(link for link in links(browser.get("/incidents").text) if "/incidents/inc-" in link)
    kinds = {"md": "text/markdown", "html": "text/html", "json": "application/json",
             "svg": "image/svg+xml", "stix": "application/stix+json",
             "misp": "application/json"}  # fmt: skip
    for form, kind in kinds.items():
        answer = browser.get(f"{path}/export.{form}")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(kind)
        assert answer.headers["content-disposition"].startswith("attachment; ")
    assert browser.get(f"{path}/export.exe").status_code == 404


def test_hosts_that_indicators_name_are_defanged(console):
    browser = console.browser(OPERATOR)
    found = browser.get("/indicators?kind=malicious_payload").text
    assert "198[.]" in re.sub("<wbr>|\u200b", "", found)
    paths = [path for path in links(found) if path.startswith("/indicators/")]
    for text in (found, *(browser.get(path).text for path in paths)):
        read = re.sub("<[^>]*>|\u200b", "", text)
        assert not re.search(r"https?://\d|(?<!\S)198\.51\.100\.", read)


def test_no_page_shows_a_hostile_host_as_it_is(crawled):
    """What people read or copy names it defanged; links to pages of the console keep its key."""
    seen = 0
    for path, answer in crawled[OPERATOR.name].items():
        kind = answer.headers["content-type"]
        if not kind.startswith("text/html") or "content-disposition" in answer.headers:
            continue
        shown = re.sub("<[^>]*>|\u200b", "", html.unescape(answer.text))
        assert "data.acrne.example" not in shown, path
        seen += "data[.]acrne[.]example" in shown
    assert seen > 3


def test_export_has_a_marking(console):
    browser = console.browser(OPERATOR)
    path = next(link for link in links(browser.get("/incidents").text) if "/incidents/inc-" in link)
    assert browser.get(f"{path}/export.json").json()["tlp"] == "amber+strict"
    shared = browser.get(f"{path}/export.stix").text
    assert set(re.findall(r'"tlp_2_0": "([a-z+]+)"', shared)) == {"amber"}
    tags = browser.get(f"{path}/export.misp").json()["Event"]["Tag"]
    assert "tlp:amber" in {tag["name"] for tag in tags}


# -- who is there --------------------------------------------------------------------------------


def test_anonymous_client_reads_nothing(console, crawled):
    for path in crawled[OPERATOR.name]:
        if path.startswith("/static/") or path == "/sign-in":
            continue
        answer = requests.get(console.url + path, allow_redirects=False, timeout=SECONDS)
        assert answer.status_code == 303, path
        assert answer.headers["location"].startswith("/sign-in"), path
        assert answer.text == ""


def test_a_link_signs_in_once(console):
    token = console.services.sessions.new_link(OPERATOR)
    first = requests.get(
        f"{console.url}/enter?token={token}&to=/incidents", allow_redirects=False, timeout=SECONDS
    )
    assert (first.status_code, first.headers["location"]) == (303, "/incidents")
    cookie = first.headers["set-cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=strict", "Path=/"))
    again = requests.get(
        f"{console.url}/enter?token={token}", allow_redirects=False, timeout=SECONDS
    )
    assert again.status_code == 403
    assert "set-cookie" not in again.headers


@pytest.mark.parametrize("token", ["", "x", "a" * 43, "\u00e9"])
def test_guessed_link_signs_nobody_in(console, token):
    answer = requests.get(
        f"{console.url}/enter", params={"token": token}, allow_redirects=False, timeout=SECONDS
    )
    assert answer.status_code == 403


def test_cross_site_link_is_requested_again_from_the_console(console):
    answer = requests.get(
        f"{console.url}/incidents?q=%22%3E%3Cscript%3E",
        headers={"Sec-Fetch-Site": "cross-site"},
        timeout=SECONDS,
    )
    assert answer.status_code == 200
    assert '<meta http-equiv="refresh" content="0; url=/incidents?q=' in answer.text
    assert "<script>" not in answer.text


def test_a_form_counts_only_with_the_sessions_token_and_from_here(console):
    browser = console.browser(OPERATOR)
    csrf = browser.csrf()
    other = console.browser(OPERATOR).csrf()
    for fields, headers in (
        ({"csrf": ""}, {}),
        ({"other": "x"}, {}),
        ({"csrf": other}, {}),
        ({"csrf": csrf}, {"Sec-Fetch-Site": "cross-site"}),
        ({"csrf": csrf}, {"Sec-Fetch-Site": "same-site"}),
    ):
        answer = browser.post("/sign-out", fields, headers=headers)
        assert answer.status_code == 403, (fields, headers)
    assert browser.get("/").status_code == 200
    answer = browser.post("/sign-out", {"csrf": csrf}, headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 303
    assert browser.get("/").status_code == 303


def test_a_form_of_another_type_or_without_a_session_is_refused(console):
    browser = console.browser(OPERATOR)
    kind = {"Content-Type": "text/plain"}
    assert browser.post("/sign-out", {"csrf": browser.csrf()}, headers=kind).status_code == 415
    answer = requests.post(f"{console.url}/sign-out", data={"csrf": "x"}, timeout=SECONDS)
    assert answer.status_code == 401


def test_another_name_for_the_console_is_refused(console):
    """As a page elsewhere would use that made its own name lead here."""
    browser = console.browser(OPERATOR)
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", ""):
        assert browser.get("/", headers={"Host": host}).status_code in {400, 421}
    assert browser.get("/", headers={"Host": "localhost:9420"}).status_code == 200


@pytest.mark.parametrize(
    ("target", "goes"),
    [
        ("/incidents?q=a", "/incidents?q=a"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("", "/"),
    ],
)
def test_nobody_is_sent_to_another_site(target, goes):
    assert local_target(target) == goes


def test_a_method_or_page_that_is_not_there_is_an_error_page(console):
    browser = console.browser(OPERATOR)
    answer = browser.get("/no/such/page")
    assert answer.status_code == 404
    check_page("/no/such/page", answer.text)


def test_a_name_in_static_files_leads_nowhere_else(console):
    for name in ("../pages.py", "%2e%2e%2fpages.py", "vendored.toml", "console.css%00"):
        answer = requests.get(f"{console.url}/static/{name}", timeout=SECONDS)
        assert answer.status_code in {303, 400, 404} or "sign-in" in answer.url


# -- live ----------------------------------------------------------------------------------------


def reported(browser: Browser, found: list[str], ready: threading.Event) -> None:
    with browser._session.get(f"{browser.url}/events", stream=True, timeout=SECONDS) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            found.append(line.decode())
            ready.set()
            if line.startswith(b"event:"):
                return


def test_an_open_page_is_notified_of_changes_that_it_may_show(played, tmp_path):
    own = indexed(tmp_path, [])
    by_tenant = {
        tenant: next(
            entry
            for channel, entry in played.records
            if channel is Channel.ALERTS and entry.key.endswith(f"|{tenant}".encode())
        )
        for tenant in ("acme", "globex")
    }
    with site(own) as made:
        heard: dict[str, list[str]] = {}
        threads = {}
        for viewer in (ACME, GLOBEX):
            (tenant,) = viewer.tenants
            heard[tenant], ready = [], threading.Event()
            threads[tenant] = threading.Thread(
                target=reported, args=(made.browser(viewer), heard[tenant], ready)
            )
            threads[tenant].start()
            assert ready.wait(SECONDS)
        fill(own, [(Channel.ALERTS, by_tenant["acme"])])
        threads["acme"].join(SECONDS)
        assert heard["acme"][-1] == "event: changed"
        assert not any(line.startswith("event:") for line in heard["globex"])
        fill(own, [(Channel.ALERTS, by_tenant["globex"])])
        threads["globex"].join(SECONDS)
        assert heard["globex"][-1] == "event: changed"
    own.close()


def test_one_session_can_not_take_every_stream(console, monkeypatch):
    from streams.console.routes import events  # noqa: PLC0415 -- beside its test

    monkeypatch.setattr(events, "MOST_STREAMS", 0)
    assert console.browser(OPERATOR).get("/events").status_code == 429


def asked_for_events(console, token: str) -> Request:
    cookie = f"{console.services.cookie}={token}".encode()
    return Request(
        {
            "type": "http",
            "method": "GET",
            "path": "/events",
            "query_string": b"",
            "headers": [(b"host", b"127.0.0.1"), (b"cookie", cookie)],
        }
    )


def test_a_burst_of_streams_is_counted_before_the_first_of_them_begins(console, monkeypatch):
    from streams.console.routes import events  # noqa: PLC0415 -- beside its test

    monkeypatch.setattr(events, "MOST_STREAMS", 2)
    token = console.services.sessions.start(OPERATOR)
    (route,) = events.routes(console.services)

    async def gone() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def refused(_message) -> None:
        raise OSError("the browser is gone")

    async def burst() -> None:
        answers = [await route.endpoint(asked_for_events(console, token)) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        for answer in answers[:2]:
            with pytest.raises(ClientDisconnect):
                await answer({"type": "http", "asgi": {"spec_version": "2.4"}}, gone, refused)
        assert (await route.endpoint(asked_for_events(console, token))).status_code == 200

    asyncio.run(burst())


def test_an_error_of_a_page_is_shown_without_its_text(console, monkeypatch):
    from streams.console.queries import IndexReader  # noqa: PLC0415 -- beside its test

    def broken(*_arguments):
        raise RuntimeError("secret path")

    monkeypatch.setattr(IndexReader, "cases", broken)
    answer = console.browser(OPERATOR).get("/incidents")
    assert answer.status_code == 500
    assert "secret path" not in answer.text
    check_page("/incidents", answer.text)


def test_a_role_that_is_too_low_is_refused(console):
    viewer = Viewer(name="v", role=Role.VIEWER, tenants="*")
    assert console.browser(viewer).get("/").status_code == 200
    assert not viewer.may(Role.ANALYST)
    assert [role.rank for role in Role] == [0, 1, 2, 3]


def test_an_empty_console_has_every_page(tmp_path):
    made = indexed(tmp_path, [])
    with site(made) as empty:
        browser = empty.browser(OPERATOR)
        for path in PAGES:
            answer = browser.get(path)
            assert answer.status_code == 200
            check_page(path, answer.text)
        for path, said in (
            ("/incidents", "No incident is open."),
            ("/incidents?q=llama", "No incident matches."),
            ("/indicators", "No indicator is known."),
            ("/indicators?kind=typosquat", "No indicator matches."),
            ("/dead-letters", "No record was unreadable."),
        ):
            text = browser.get(path).text
            assert said in text, path
            # once, not as an empty page of a list besides
            assert 'aria-label="Pages of the list"' not in text, path
    made.close()


def test_a_record_of_each_channel_alone_makes_pages_that_can_be_read(played, tmp_path):
    """An incident whose operator's record, or whose alerts, were not read yet."""
    for channel in (Channel.ALERTS, Channel.INCIDENTS):
        made = indexed(
            tmp_path / channel, [record for record in played.records if record[0] is channel]
        )
        with site(made) as part:
            for viewer in (OPERATOR, ACME):
                for path, answer in part.browser(viewer).crawl(6).items():
                    assert answer.status_code in {200, 404}, path
        made.close()
    assert record(Channel.ALERTS, "k", None).value is None


def test_only_code_marks_of_a_text_become_markup():
    assert coded("Read `a<b>` and <i>") == "Read <code>a&lt;b&gt;</code> and &lt;i&gt;"
    assert coded("a ` alone") == "a ` alone"
    assert coded("`\x1b[2J`") == "<code>\\u001b[2J</code>"
