"""A real browser in front of a console: the Chromium of the machine, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from streams.console.viewer import Viewer
from tests.streams.console.site import Site

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Locator, LocatorAssertions, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text("utf-8")
STANDARDS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
TIMEOUT_MS = 60_000
ROWS = 12
PHONE = {"width": 375, "height": 740}
DESK = {"width": 1280, "height": 900}
WALL = {"width": 2560, "height": 1440}
KEEP = os.environ.get("SCREENSHOTS")
"""A folder that keeps a picture of each page that a test looks at, for people."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the machine's Chromium until the end of the block; skip where none starts."""
    from playwright.sync_api import Error, sync_playwright  # noqa: PLC0415 -- slow import

    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"none of {', '.join(NAMES)} is installed")
    # nobody looks at what it draws, and emulating a graphics card takes a tenth of its time
    arguments = ["--disable-gpu"]
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")  # it refuses to confine itself where root starts it
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(
                executable_path=path, args=arguments, timeout=TIMEOUT_MS
            )
        except Error as error:
            # a package that only refers to a snap, or a machine on which it can't confine itself
            pytest.skip(f"{path} does not start here: {error.message.splitlines()[0]}")
        try:
            yield browser
        finally:
            browser.close()


def expect(part: Locator) -> LocatorAssertions:
    """Return what can be expected of a part of a page, which is waited for."""
    from playwright import sync_api  # noqa: PLC0415 -- slow import

    return sync_api.expect(part)


class Visitor:
    """Somebody at a browser, and what the browser complained of."""

    def __init__(self, browser: Browser, site: Site, viewer: Viewer | None, **options) -> None:
        self.site = site
        self.complaints: list[str] = []
        self.context: BrowserContext = browser.new_context(
            base_url=site.url,
            viewport=options.pop("viewport", WALL),
            # colours change at once
            reduced_motion="reduce",
            **options,
        )
        self.context.set_default_timeout(TIMEOUT_MS)
        if viewer is not None:
            services = site.services
            token = services.sessions.start(viewer)
            self.context.add_cookies([{"name": services.cookie, "value": token, "url": site.url}])
        self.page: Page = self.context.new_page()
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._asked)

    def _said(self, message) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{self.page.url}: {message.text}")

    def _asked(self, request) -> None:
        if urlsplit(request.url).netloc != urlsplit(self.site.url).netloc:
            self.complaints.append(f"{self.page.url} asked {request.url}")

    def see(self, path: str) -> Page:
        """Open a page, until all that it names is there."""
        self.page.goto(path, wait_until="load")
        return self.page

    def picture(self, name: str) -> None:
        """Keep a picture of the page, if pictures are kept."""
        if KEEP:
            folder = Path(KEEP)
            folder.mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=folder / f"{name}.png", full_page=True)

    def overflow(self) -> list[str]:
        """Return what makes the page wider than its window."""
        return self.page.evaluate(
            """() => {
              const width = document.documentElement.clientWidth;
              if (document.documentElement.scrollWidth <= width) return [];
              return [...document.querySelectorAll("body *")]
                .filter((one) => one.getBoundingClientRect().right > width + 1)
                .map((one) => one.outerHTML.slice(0, 160));
            }"""
        )

    def broken_words(self) -> list[str]:
        """Return the terms and parts of names that are broken within, for want of width."""
        return self.page.evaluate(
            """() => {
              const broken = [...document.querySelectorAll(".word")]
                .filter((one) =>
                  one.getClientRects().length > one.textContent.split(/[\\s-]+/).length)
                .map((one) => one.textContent);
              const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT,
                (one) => one.parentElement.closest(".key:not(textarea)") && !/\\s/.test(one.data)
                  ? NodeFilter.FILTER_ACCEPT : NodeFilter.FILTER_SKIP);
              while (texts.nextNode()) {
                const range = document.createRange();
                range.selectNodeContents(texts.currentNode);
                const lines = new Set([...range.getClientRects()].map((one) => one.top));
                // where a browser may break it without being told
                const parts = texts.currentNode.data.split(/[/-]+/).length;
                if (lines.size > parts) broken.push(texts.currentNode.data);
              }
              return broken;
            }"""
        )

    def barriers(self, *rules: str) -> list[str]:
        """Return what keeps people from using the page, by WCAG 2.2 AA as axe tests it.

        Args:
            rules: Rules to test, by default all.
        """
        if not self.page.evaluate("() => 'axe' in window"):
            self.page.evaluate(AXE)
        return self.page.evaluate(
            """async (only) => {
              const found = await axe.run(document, {
                runOnly: only, resultTypes: ["violations"], preload: false,
              });
              return found.violations.flatMap((rule) => rule.nodes.map(
                (node) => `${rule.id}: ${node.html.slice(0, 200)}: ${node.failureSummary}`));
            }""",
            list(rules) or STANDARDS,
        )

    def added_by_scripts(self) -> list[str]:
        """Return what of the page is not there without scripts, but for what says it needs them.

        The page is parsed again as it came, without running anything.
        """
        return self.page.evaluate(
            """async () => {
              const words = (page) => {
                const main = page.querySelector("main").cloneNode(true);
                for (const one of main.querySelectorAll("[data-needs-script]")) one.remove();
                return main.textContent.replace(/\\s+/g, " ").trim();
              };
              const text = await (await fetch(location.href)).text();
              const without = words(new DOMParser().parseFromString(text, "text/html"));
              if (!without) return ["nothing is said without scripts"];
              return without === words(document) ? [] : [words(document).slice(0, 400)];
            }"""
        )

    def shorten(self) -> None:
        """Leave of each table and list the first rows: more of the same would say the same."""
        self.page.evaluate(
            """(rows) => {
              for (const all of document.querySelectorAll("main tbody, main ul, main ol, main svg"))
                for (const one of [...all.children].slice(rows)) one.remove();
            }""",
            ROWS,
        )

    def close(self) -> None:
        """Close the browser's window; fail if it complained of anything."""
        self.context.close()
        assert not self.complaints
