"""The console in a real browser: readable by anybody, on any screen, and nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec
import pytest

from schemas.channels import Channel
from streams.console.config import ConsoleConfig
from streams.console.pages import link
from tests.streams.console.chromium import DESK, PHONE, WALL, Visitor, chromium, expect
from tests.streams.console.played import Played, fill, indexed
from tests.streams.console.routes.test_hold_release import FIRST, HELD, SECOND, held_by
from tests.streams.console.site import OPERATOR, Site, links, site
from tests.streams.gateway.requests import SECRET

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow
LEAST_PAGES = 15
LISTED = {Channel.INCIDENTS, Channel.ALERTS, Channel.IOCS, Channel.HOLDS}
TEXTS = {"title", "description", "text", "summary", "detail", "subject", "system", "reason",
         "status_text", "component", "name", "version", "source", "target", "root",
         "value"}  # fmt: skip
LOOKS = ("color-contrast", "target-size", "scrollable-region-focusable", "link-in-text-block")
MODES = (("light", WALL), ("light", DESK), ("dark", PHONE))


@pytest.fixture(scope="module")
def browser(played: Played) -> Iterator[Browser]:
    """A browser. It is started behind the replay: Playwright keeps an event loop in this thread."""
    del played
    with chromium() as made:
        yield made


@pytest.fixture(scope="module")
def paths(console: Site) -> list[str]:
    """One page of each kind that can be reached, and those of errors."""
    found = [
        path
        for path, answer in console.browser(OPERATOR).crawl(1).items()
        if answer.headers["content-type"].startswith("text/html")
        and "content-disposition" not in answer.headers
    ]
    assert len(found) >= LEAST_PAGES, found
    return found


def name_of(path: str) -> str:
    """Return the name of a page's picture."""
    return path.partition("?")[0].strip("/").split("/inc-")[0].replace("/", "-") or "overview"


def test_pages_are_accessible(browser, console, paths):
    visitor = Visitor(browser, console, OPERATOR)
    wrong = []
    for path in paths:
        page = visitor.see(path)
        wrong += [f"{path}: {script}" for script in visitor.added_by_scripts()]
        for scheme, size in MODES:
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size(size)
            visitor.picture(f"{name_of(path)}-{scheme}-{size['width']}")
            faults = [*visitor.overflow(), *visitor.broken_words()]
            wrong += [f"{path} {size['width']} px: {fault}" for fault in faults]
        visitor.shorten()
        wrong += [f"{path} dark: {barrier}" for barrier in visitor.barriers()]
        # what depends on colours and sizes
        page.emulate_media(color_scheme="light")
        page.set_viewport_size(WALL)
        wrong += [f"{path} light: {barrier}" for barrier in visitor.barriers(*LOOKS)]
    assert not wrong, "\n".join(wrong)
    visitor.close()


def test_decision_forms_are_accessible(browser, played, tmp_path):
    made = indexed(tmp_path, [*played.records, held_by(HELD)])
    incident = next(
        incident for incident in played.flow.incidents.values() if incident.tenant_count > 1
    )
    hold = {"tenant": HELD.tenant, "component": HELD.component}
    secret, gateway = tmp_path / "secret", tmp_path / "gateway.toml"
    secret.write_text(SECRET)
    gateway.write_text(
        f'[endpoints.hub]\ntenant = "acme"\nproducer = "huggingface"\nsecret = "file:{secret}"\n'
    )
    with site(made, config=ConsoleConfig(gateway=gateway)) as own:
        visitor = Visitor(browser, own, OPERATOR, viewport=PHONE, color_scheme="dark")
        for path in (
            link("/hold", **hold),
            link("/hold/release", **hold),
            link("/hold/released", **hold, id=[f"{FIRST}.dec-one", f"{SECOND}.dec-two"]),
            f"/incidents/{incident.id}/decide?kind=suppress",
            f"/incidents/{incident.id}/decide?kind=severity",
            "/producers",
            "/producer?name=hub",
        ):
            page = visitor.see(path)
            name = path.replace("decide?kind=", "").partition("?")[0].rpartition("/")[2]
            visitor.picture(f"form-{name}-dark-375")
            assert not visitor.barriers(), path
            assert not visitor.overflow(), path
            page.set_viewport_size(WALL)
            page.emulate_media(color_scheme="light")
            visitor.picture(f"form-{name}-light-2560")
            assert not visitor.barriers(*LOOKS), path
            page.set_viewport_size(PHONE)
            page.emulate_media(color_scheme="dark")
        visitor.close()
    made.close()


def test_error_and_sign_in_pages_are_accessible(browser, console):
    inside = Visitor(browser, console, OPERATOR, viewport=PHONE, color_scheme="dark")
    outside = Visitor(browser, console, None, viewport=PHONE)
    for visitor, path, said in (
        (inside, "/no/such/page", "There is no such page"),
        (inside, "/incidents?since=yesterday-ish", "is not a time"),
        (outside, "/incidents", "Sign in"),
        (outside, "/enter?token=used", "This link was already used"),
    ):
        page = visitor.see(path)
        visitor.picture(f"error-{path.partition('?')[0].strip('/').replace('/', '-')}")
        expect(page.locator("main")).to_contain_text(said, ignore_case=True)
        assert not visitor.barriers()
        assert not visitor.overflow()
    # the browser itself notes each answer that is an error
    for visitor in (inside, outside):
        visitor.complaints = [
            complaint for complaint in visitor.complaints if "status of 4" not in complaint
        ]
        visitor.close()


def test_a_console_without_records_or_broker_says_so(browser, tmp_path):
    made = indexed(tmp_path, [])
    with site(made) as empty:
        empty.services.status.reachable = False
        empty.services.status.whole = False
        empty.services.status.behind = 1234
        visitor = Visitor(browser, empty, OPERATOR, viewport=PHONE)
        for path in ("/", "/incidents", "/health"):
            page = visitor.see(path)
            visitor.picture(f"empty-{name_of(path)}")
            expect(page.locator("main")).to_contain_text("The broker does not answer.")
            expect(page.locator("main")).to_contain_text("1,234 records to go")
            assert not visitor.barriers()
            assert not visitor.overflow()
        visitor.close()
    made.close()


def test_long_names_make_no_page_wider(browser, played, tmp_path):
    """Names without a place to break them, in each text of some records."""
    records = [
        (channel, msgspec.structs.replace(record, value=lengthened(record.value)))
        for channel, record in played.records
        if channel in LISTED and record.value is not None
    ]
    made = indexed(tmp_path, records[-300:])
    with site(made) as long:
        visitor = Visitor(browser, long, OPERATOR, viewport=PHONE)
        incidents = [
            path for path in links(long.browser(OPERATOR).get("/").text) if "/inc-" in path
        ]
        for path in ("/", "/incidents", "/indicators", incidents[0]):
            page = visitor.see(path)
            visitor.picture(f"long-{name_of(path)}")
            assert not visitor.overflow(), path
            assert page.locator("h1").is_visible()
            assert "\\u000a" not in page.locator("main").inner_text(), path
        visitor.close()
    made.close()


def test_on_a_phone_the_navigation_shows_where_one_is(browser, console):
    visitor = Visitor(browser, console, OPERATOR, viewport=PHONE)
    for path in ("/", "/policies", "/health"):
        box = visitor.see(path).locator(".nav [aria-current]").bounding_box()
        assert box["x"] >= 0, path
        assert box["x"] + box["width"] <= PHONE["width"], path
    visitor.close()


def lengthened(raw: bytes) -> bytes:
    """Return a document whose free texts are long names."""

    def changed(value, name=""):
        if isinstance(value, dict):
            return {key: changed(inner, key) for key, inner in value.items()}
        if isinstance(value, list):
            return [changed(inner, name) for inner in value]
        return value + "N" * 300 if isinstance(value, str) and name in TEXTS else value

    return msgspec.json.encode(changed(msgspec.json.decode(raw)))


# -- without scripts, without a mouse, live ------------------------------------------------------


def test_without_scripts_a_list_is_searched(browser, console):
    visitor = Visitor(browser, console, OPERATOR, java_script_enabled=False)
    page = visitor.see("/incidents")
    page.get_by_label("Search").fill("litellm")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    visitor.close()


def test_a_graph_is_read_and_followed_by_keyboard(browser, console):
    visitor = Visitor(browser, console, OPERATOR)
    page = visitor.see("/incidents?q=litellm")
    page.locator("tbody a").first.click()
    page.get_by_role("button", name="Larger").focus()
    page.keyboard.press("Enter")
    graph = page.locator("#graph")
    expect(graph).to_have_attribute("data-zoom", "150")
    page.keyboard.press("Tab")
    expect(graph).to_be_focused()
    page.keyboard.press("Tab")
    focused = page.evaluate("() => document.activeElement.closest('#graph svg a') !== null")
    assert focused
    page.keyboard.press("Enter")
    page.wait_for_url("**/component?**")
    visitor.close()


def test_a_graph_is_panned_zoomed_and_expanded_by_mouse_and_keys(browser, console):
    visitor = Visitor(browser, console, OPERATOR)
    page = visitor.see("/incidents?q=litellm")
    page.locator("tbody a").first.click()
    page.get_by_role("button", name="Larger").wait_for()  # keys are answered once it is shown
    graph = page.locator("#graph")
    graph.focus()
    for zoomed in ("150", "200", "300"):
        page.keyboard.press("+")
        expect(graph).to_have_attribute("data-zoom", zoomed)
    page.keyboard.press("-")
    expect(graph).to_have_attribute("data-zoom", "200")
    graph.hover()
    page.keyboard.down("Control")
    page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    expect(graph).to_have_attribute("data-zoom", "300")
    here, box = page.url, graph.bounding_box()
    graph.evaluate("one => one.scrollTo(0, 0)")
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 60, y, steps=4)
    page.mouse.up()
    assert graph.evaluate("one => one.scrollLeft") == 60
    assert page.url == here, "a drag follows no link"
    graph.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.getElementById('graph').scrollLeft > 60")
    whole = page.get_by_role("button", name="Whole height")
    whole.click()
    expect(whole).to_have_attribute("aria-expanded", "true")
    assert graph.evaluate("one => one.scrollHeight <= one.clientHeight + 1")
    visitor.close()


@pytest.fixture
def wide(played, tmp_path) -> Iterator[tuple[Site, str]]:
    """A console with an incident of many systems, and the path of its page."""
    (*_, last) = (
        record for channel, record in played.records
        if channel is Channel.INCIDENTS and record.value is not None and b"litellm" in record.value
    )  # fmt: skip
    document = msgspec.json.decode(last.value)
    first = document["systems"][0]
    document["systems"] = [
        {**first, "system": f"node-{number:02}", "exposure": exposure}
        for number, exposure in enumerate(["executed"] * 20 + ["delivered"] * 5)
    ]
    record = msgspec.structs.replace(last, value=msgspec.json.encode(document))
    made = indexed(tmp_path, [(Channel.INCIDENTS, record)])
    with site(made) as own:
        yield own, f"/incidents/{document['id']}"
    made.close()


def test_a_graph_is_folded_and_unfolded_by_mouse_and_keys(browser, wide):
    own, path = wide
    visitor = Visitor(browser, own, OPERATOR)
    page = visitor.see(path)
    graph, spread = page.locator("#graph"), page.locator("#spread")
    large, small = (graph.get_by_role("link", name=f"{count} systems") for count in (20, 5))
    expect(large).to_have_attribute("aria-expanded", "false")
    expect(small).to_have_attribute("aria-expanded", "true")
    expect(graph).not_to_contain_text("node-00")
    expect(graph).to_contain_text("node-24")
    expect(spread.locator("tbody tr")).to_have_count(25)
    visitor.picture("graph-folded-light-2560")
    page.evaluate("() => { window.kept = true }")
    large.focus()
    page.keyboard.press("Enter")
    expect(graph).to_contain_text("node-00")
    expect(large).to_have_attribute("aria-expanded", "true")
    expect(large).to_be_focused()
    expect(page.locator("#live-state")).to_have_text("unfolded")
    small.click()
    expect(graph).not_to_contain_text("node-24")
    # what is renewed, and who gets the link, has the same folded
    page.evaluate("() => document.body.dispatchEvent(new CustomEvent('tw-changed'))")
    expect(page.locator("#live-state")).to_contain_text("renewed")
    expect(graph).not_to_contain_text("node-24")
    assert page.evaluate("() => window.kept"), "the page was not loaded again"
    page.reload()
    expect(graph).to_contain_text("node-00")
    expect(graph).not_to_contain_text("node-24")
    page.get_by_role("link", name="Nothing folded").click()
    expect(graph).to_contain_text("node-24")
    for scheme, size in MODES:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size(size)
        visitor.picture(f"graph-unfolded-{scheme}-{size['width']}")
        assert not visitor.barriers()
        assert not visitor.overflow()
    visitor.close()


def test_a_graph_is_folded_without_scripts(browser, wide):
    own, path = wide
    visitor = Visitor(browser, own, OPERATOR, java_script_enabled=False)
    page = visitor.see(path)
    page.locator("#graph").get_by_role("link", name="20 systems").click()
    page.wait_for_url("**turned=**")
    expect(page.locator("#graph")).to_contain_text("node-00")
    page.get_by_role("link", name="All folded").click()
    page.wait_for_url("**fold=all**")
    expect(page.locator("#graph")).not_to_contain_text("node-24")
    expect(page.locator("#spread tbody tr")).to_have_count(25)
    visitor.close()


def test_a_list_renews_itself_without_being_loaded_again(browser, played, tmp_path):
    made = indexed(tmp_path, [])
    with site(made) as own:
        visitor = Visitor(browser, own, OPERATOR)
        page = visitor.see("/incidents")
        expect(page.locator("#live-state")).to_have_text("live")
        page.evaluate("() => { window.kept = true }")
        fill(made, [record for record in played.records if record[0] is Channel.INCIDENTS])
        expect(page.locator("tbody tr")).to_have_count(5)
        assert page.evaluate("() => window.kept")
        visitor.close()
    made.close()
