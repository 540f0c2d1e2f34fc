"""A console of the test's own in a thread, and browsers that read all of it."""

from __future__ import annotations

import html
import re
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace

import requests

from agents.intelligence.feed import changes
from schemas.decisions import Decision
from streams.console.app import routes
from streams.console.config import ConsoleConfig
from streams.console.index import Index
from streams.console.saved_views import SavedViews
from streams.console.sessions import Sessions
from streams.console.signed_in import Services
from streams.console.viewer import Role, Viewer
from streams.decisions import new_decision
from streams.kafka.lag import Progress
from tests.streams.http.serving import serving

OPERATOR = Viewer(name="root@soc.example", role=Role.ADMIN, tenants="*")
ACME = Viewer(name="ada@acme.example", role=Role.ADMIN, tenants=("acme",))
GLOBEX = Viewer(name="gus@globex.example", role=Role.ADMIN, tenants=("globex",))
_LINK = re.compile(r'(?:href|src|hx-get)="(/[^"]*)"')
_ID = re.compile(r"[a-z]{3}-[0-9a-f]{12,}")
_FOLDED = re.compile(r"\b(fold|turned)=")
SECONDS = 30
FOLDED = 3
"""Most pages that are read of graphs that are folded otherwise."""


class Browser:
    """Somebody who is signed in."""

    def __init__(self, url: str, services: Services, viewer: Viewer) -> None:
        self.url = url
        self.token = services.sessions.start(viewer)
        self._session = requests.Session()
        self._session.cookies.set(services.cookie, self.token)

    def get(self, path: str, **more) -> requests.Response:
        """Return the answer to a request, without following redirects."""
        return self._session.get(self.url + path, allow_redirects=False, timeout=SECONDS, **more)

    def post(self, path: str, fields: dict[str, str], **more) -> requests.Response:
        """Return the answer to a form."""
        return self._session.post(
            self.url + path, data=fields, allow_redirects=False, timeout=SECONDS, **more
        )

    def csrf(self) -> str:
        """Return what this session's forms carry."""
        found = re.search(r'name="csrf" value="([^"]+)"', self.get("/").text)
        assert found is not None
        return found[1]

    def crawl(self, alike: int = 12) -> dict[str, requests.Response]:
        """Return the pages that can be reached from the overview.

        Args:
            alike: Most pages of one kind, as those of single components.
        """
        found: dict[str, requests.Response] = {}
        kinds: Counter[str] = Counter()
        waiting = deque(["/"])
        while waiting:
            path = waiting.popleft()
            kind, _, query = _ID.sub("*", path).partition("?")
            if _FOLDED.search(query):
                # the same incident, drawn otherwise: it takes no other page's place
                kind += " folded"
            most = min(alike - 1, FOLDED) if kind.endswith(" folded") else alike
            if path in found or path.startswith("/events") or kinds[kind] >= most:
                continue
            kinds[kind] += 1
            found[path] = self.get(path)
            if found[path].headers["content-type"].startswith("text/html"):
                waiting += links(found[path].text)
        return found


def links(text: str) -> list[str]:
    """Return where a page leads to, on this console."""
    return [html.unescape(found).partition("#")[0] for found in _LINK.findall(text)]


class Decided:
    """Keeps what is decided."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.calls: list[tuple] = []
        self.days: list[float | None] = []

    def __call__(
        self, name, kind, incident, reason, *, tenant, target, passed, days=None
    ) -> Decision:
        if self.error is not None:
            raise self.error
        self.calls.append((name, kind, incident, reason, tenant, target, passed))
        self.days.append(days)
        return new_decision(
            kind, incident, reason, actor=name, now=datetime(2026, 11, 30, tzinfo=UTC),
            tenant=tenant, target=target, passed=passed, days=days,
        )  # fmt: skip


class Changed:
    """Notes what an admin changes, as a broker would hold it."""

    def __init__(self) -> None:
        self.policies = []
        self.replayed: list[str] = []
        self.known = {}
        self.withdrawn: list[str] = []

    def set_policy(self, policy) -> None:
        self.policies.append(policy)

    def replay(self, key: str) -> int:
        self.replayed.append(key)
        return 1

    def import_feed(self, feed, prefix: str, *, publish: bool):
        made = changes(self.known, feed, source=prefix)
        if publish:
            self.known |= {fact.key: fact for fact in made.facts}
        return made

    def withdraw(self, key: str) -> None:
        self.withdrawn.append(key)


class Site:
    """A console that runs."""

    def __init__(self, url: str, services: Services) -> None:
        self.url = url
        self.services = services

    def browser(self, viewer: Viewer) -> Browser:
        """Return the browser of somebody who is signed in."""
        return Browser(self.url, self.services, viewer)


@contextmanager
def site(
    index: Index, sessions: Sessions | None = None, decide=None, change=None, config=None
) -> Iterator[Site]:
    """Serve a console until the end of the block."""
    status = SimpleNamespace(
        whole=True,
        behind=0,
        reachable=True,
        progress={"checks": Progress(written=10, finished=8, lag=2)},
    )
    services = Services(
        config=config or ConsoleConfig(),
        index=index,
        sessions=sessions or Sessions(),
        saved=SavedViews(index.path.parent),
        status=status,
        decide=decide or Decided(),
        change=change or Changed(),
        hosts=frozenset({"127.0.0.1", "localhost"}),
    )
    with serving(routes(services)) as server:
        try:
            yield Site(server.url, services)
        finally:
            services.stop.set()
