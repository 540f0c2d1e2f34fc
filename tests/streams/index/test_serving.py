"""The index between real installers and a local upstream index."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import os
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
import pytest

from schemas.channels import Channel
from schemas.intel import IntelFact, IntelKind
from schemas.policy import Internal, Policy
from streams.cli import main
from streams.http.listening import Limits
from streams.index.config import IndexConfig, IndexListen, Upstream
from streams.index.pages import JSON_TYPE
from streams.index.serving import IndexServer
from streams.kafka.compacted import publish_values
from streams.settings import Settings, load_settings
from tests.agents.fetching.servers import Answer, Server, running
from tests.wheels import write_wheel

SECONDS = 60.0
PASSWORD = "a-password-of-16-or-more"
OLD = datetime.now(UTC) - timedelta(days=400)
YOUNG = datetime.now(UTC) - timedelta(hours=5)
BAD = "demo_bad"
UV = Path(sys.executable).with_name("uv")


class Place(NamedTuple):
    """An index in front of an upstream index, whose files are on another server."""

    url: str
    upstream: Server
    hosts: Server


def release(
    hosts: Server, folder: Path, name: str, version: str, uploaded: datetime, **changes: Any
) -> dict[str, Any]:
    """Put a wheel on the server of files, and return how the upstream index lists it."""
    digest = write_wheel(folder, name, version)
    wheel = folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    info = f"{name.replace('-', '_')}-{version}.dist-info/METADATA"
    with zipfile.ZipFile(wheel) as opened:
        metadata = opened.read(info)
    hosts.answer(f"/{wheel.name}", 200, {}, wheel.read_bytes())
    hosts.answer(f"/{wheel.name}.metadata", 200, {}, metadata)
    return {
        "filename": wheel.name,
        "url": f"http://{hosts.host}/{wheel.name}",
        "hashes": {"sha256": digest},
        "size": wheel.stat().st_size,
        "upload-time": uploaded.isoformat().replace("+00:00", "Z"),
        "core-metadata": {"sha256": hashlib.sha256(metadata).hexdigest()},
        **changes,
    }


def list_project(upstream: Server, name: str, files: list[dict[str, Any]]) -> None:
    """List a project on the upstream index, which asks for a password."""
    page = json.dumps({"meta": {"api-version": "1.1"}, "name": name, "files": files}).encode()

    def route(request: BaseHTTPRequestHandler) -> Answer:
        if not request.headers.get("Authorization", "").startswith("Basic "):
            return 401, {}, b""
        return 200, {"Content-Type": JSON_TYPE}, page

    upstream.routes[f"/simple/{name}/"] = route


@contextmanager
def serving(settings: Settings, config: IndexConfig) -> Iterator[str]:
    """Serve an index in a thread."""
    server = IndexServer(settings, config)
    stop = asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        await server.run(stop)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        deadline = time.monotonic() + SECONDS
        while not server.ready:
            assert thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield server.url
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(SECONDS)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def settings(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A broker with intelligence and the tenant's policy."""
    made = load_settings(
        kafka=kafka,
        topic_prefix="index.",
        partitions=1,
        state_dir=tmp_path_factory.mktemp("state"),
    )
    facts = [
        IntelFact(key="pypi:demo-evil", kind=IntelKind.MALICIOUS, summary="steals tokens"),
        IntelFact(key="pypi:demo", kind=IntelKind.COMPROMISED, versions=("1.1",)),
    ]
    policy = Policy(tenant="acme", internal=Internal(prefixes=("acme-",)))

    async def publish() -> None:
        encoded = [(fact.key, msgspec.json.encode(fact)) for fact in facts]
        await publish_values(made, Channel.INTEL, encoded)
        await publish_values(made, Channel.POLICY, [("acme", msgspec.json.encode(policy))])

    asyncio.run(publish())
    return made


@pytest.fixture(scope="module")
def place(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """An index, with the projects that the tests ask for."""
    folder = tmp_path_factory.mktemp("wheels")
    secret = folder / "password"
    secret.write_text(PASSWORD)
    with running() as upstream, running() as hosts:

        def listed(name: str, *releases: tuple[str, datetime]) -> None:
            files = [release(hosts, folder, name, *spec) for spec in releases]
            list_project(upstream, name, files)

        listed("demo", ("1.0", OLD), ("1.1", OLD), ("2.0", YOUNG))
        listed("demo-evil", ("1.0", OLD))
        listed("requestss", ("1.0", OLD))
        listed("acme-tools", ("1.0", OLD))
        broken = release(hosts, folder, "demo-broken", "1.0", OLD, hashes={"sha256": "0" * 64})
        list_project(upstream, "demo-broken", [broken])
        config = IndexConfig(
            tenant="acme",
            upstream=Upstream(
                url=f"http://{upstream.host}/simple/",
                username="reader",
                password=f"file:{secret}",
                private_hosts=(hosts.host,),
                read_seconds=2,
            ),
            listen=IndexListen(port=0),
            limits=Limits(write_seconds=1),
        )
        with serving(settings, config) as url:
            yield Place(url, upstream, hosts)


Installer = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def install(request: pytest.FixtureRequest, place: Place, tmp_path: Path) -> Installer:
    """Install with pip, or uv, from the index alone: `install("demo==1.0")`."""

    def run(*requirements: str, url: str = place.url) -> subprocess.CompletedProcess[str]:
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PIP_", "UV_", "TIDEWATCH_"))
        }
        environment |= {"PIP_CONFIG_FILE": os.devnull, "HOME": str(tmp_path), "COLUMNS": "400"}
        index = f"{url}/simple/"
        target = str(tmp_path / "installed")
        if request.param == "pip":
            command = [
                sys.executable, "-m", "pip", "install", "--no-cache-dir", "--retries", "0",
                "--disable-pip-version-check", "--index-url", index, "--target", target,
            ]  # fmt: skip
        else:
            command = [
                str(UV), "pip", "install", "--no-cache", "--no-config",
                "--python", sys.executable, "--default-index", index, "--target", target,
            ]  # fmt: skip
            environment["UV_HTTP_RETRIES"] = "0"
        return subprocess.run(
            [*command, *requirements],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    return run


def version_of(tmp_path: Path, module: str) -> str:
    scope: dict[str, str] = {}
    exec((tmp_path / "installed" / f"{module}.py").read_text(), scope)
    return scope["VERSION"]


@pytest.mark.parametrize("install", ["pip", "uv"], indirect=True)
def test_an_installer_gets_the_newest_release_that_is_not_refused(
    install: Installer, tmp_path: Path
) -> None:
    done = install("demo")
    assert done.returncode == 0, done.stderr
    assert version_of(tmp_path, "demo") == "1.0"


@pytest.mark.parametrize(
    ("install", "requirement", "why"),
    [
        ("uv", "demo==1.1", "known-compromised"),
        ("uv", "demo==2.0", "younger-than-3-days"),
        ("uv", "demo-evil", "known-malicious"),
        ("uv", "requestss", "looks-like-requests"),
        # pip takes seconds to start: one that is passed over, and one that is not
        ("pip", "demo==2.0", "younger-than-3-days"),
        ("pip", "requestss", "looks-like-requests"),
    ],
    indirect=["install"],
)
def test_an_installer_shows_why_it_gets_nothing(
    install: Installer, tmp_path: Path, requirement: str, why: str
) -> None:
    done = install(requirement)
    assert done.returncode != 0
    assert why in done.stdout + done.stderr, done.stdout + done.stderr
    assert not list(tmp_path.glob("installed/*.py"))


def get(
    url: str, path: str, accept: str = JSON_TYPE, more: dict[str, str] | None = None
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Return an answer as it came, cut or not."""
    link = http.client.HTTPConnection(urlsplit(url).netloc, timeout=SECONDS)
    try:
        link.request("GET", path, headers={"Accept": accept, **(more or {})})
        answer = link.getresponse()
        try:
            body = answer.read()
        except http.client.IncompleteRead as error:
            body = error.partial
        return answer.status, answer.headers, body
    finally:
        link.close()


@contextmanager
def proxied(inner: str, prefix: str) -> Iterator[str]:
    """Stand a reverse proxy in front of an address, which strips a prefix of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith(f"{prefix}/"):
                self.send_error(404)
                return
            forwarded = {
                "Accept": self.headers.get("Accept", "*/*"),
                "X-Forwarded-Host": "packages.example",
                "X-Forwarded-Prefix": prefix,
                "X-Forwarded-Proto": "https",
            }
            link = http.client.HTTPConnection(urlsplit(inner).netloc, timeout=SECONDS)
            try:
                link.request("GET", self.path.removeprefix(prefix), headers=forwarded)
                answer = link.getresponse()
                body = answer.read()
            finally:
                link.close()
            self.send_response(answer.status)
            for name in ("Content-Type", "Content-Length", "Location"):
                if value := answer.headers.get(name):
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            del args

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}{prefix}"
        server.shutdown()
        thread.join(SECONDS)


@pytest.mark.parametrize("install", ["pip", "uv"], indirect=True)
def test_an_installer_gets_files_through_a_proxy_with_a_prefix(
    install: Installer, place: Place, tmp_path: Path
) -> None:
    with proxied(place.url, "/team/pypi") as url:
        done = install("Demo", url=url)
        assert done.returncode == 0, done.stderr
        assert version_of(tmp_path, "demo") == "1.0"
        status, _, body = get(url, "/team/pypi/refused/x/demo/demo-2.0-py3-none-any.whl")
        assert (status, json.loads(body)["reason"]) == (403, "younger-than-3-days")


def test_no_address_of_an_answer_rests_on_what_a_client_says(place: Place) -> None:
    forged = {
        "Host": "evil.example",
        "Forwarded": "host=evil.example;proto=https",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Prefix": "/evil",
        "X-Forwarded-Proto": "evil",
        "X-Script-Name": "/evil",
    }
    for path in (
        "/simple/demo",
        "/simple/Demo/",
        "/simple/demo/",
        "/files/demo/demo-1.1-py3-none-any.whl",
        "/refused/x/demo/demo-1.0-py3-none-any.whl",
    ):
        plainly = get(place.url, path)
        status, headers, body = get(place.url, path, more=forged)
        assert (status, body) == (plainly[0], plainly[2])
        assert headers["location"] == plainly[1]["location"]
        assert not (headers["location"] or "").startswith(("/", "http"))


def test_a_file_that_is_not_what_the_index_says_is_never_whole(place: Place) -> None:
    path = "/files/demo-broken/demo_broken-1.0-py3-none-any.whl"
    status, headers, body = get(place.url, path)
    assert status == 200
    assert len(body) < int(headers["content-length"])


def test_a_page_lists_what_is_refused_as_yanked_with_the_reason(place: Place) -> None:
    for name in ("demo", "Demo"):
        status, headers, body = get(place.url, f"/simple/{name}/")
        if name == "Demo":
            assert (status, headers["location"]) == (301, "../demo/")
            continue
        assert (status, headers["content-type"]) == (200, JSON_TYPE)
        files = {file["filename"]: file for file in json.loads(body)["files"]}
        good = files["demo-1.0-py3-none-any.whl"]
        assert (good["yanked"], good["url"]) == (False, f"../../files/demo/{good['filename']}")
        young = files["demo-2.0-py3-none-any.whl"]
        assert "uploaded 5 h ago" in young["yanked"]
        assert young["core-metadata"] is False
        status, headers, body = get(place.url, f"/simple/demo/{young['url']}")
        assert status == 404, "no path climbs"
        status, headers, body = get(place.url, young["url"].removeprefix("../.."))
        assert (status, json.loads(body)["reason"]) == (403, "younger-than-3-days")
    status, headers, body = get(place.url, "/simple/demo/", "text/html")
    assert b"data-yanked=" in body
    assert get(place.url, "/simple/demo/", "image/png")[0] == 406
    assert get(place.url, "/simple/demo")[1]["location"] == "demo/"


def test_a_file_is_judged_when_it_is_asked_for_whatever_page_named_it(place: Place) -> None:
    status, headers, _ = get(place.url, "/files/demo/demo-1.1-py3-none-any.whl")
    assert status == 302
    assert "known-compromised" in headers["location"]
    assert get(place.url, "/files/demo/demo-1.1-py3-none-any.whl.metadata")[0] == 302
    status, _, body = get(place.url, "/files/demo/demo-1.0-py3-none-any.whl.metadata")
    assert status == 200
    assert b"Name: demo" in body
    assert get(place.url, "/refused/anything/demo/demo-1.0-py3-none-any.whl")[0] == 302
    for path in ("/files/demo/other-1.0.tar.gz", "/files/Demo/demo-1.0-py3-none-any.whl"):
        assert get(place.url, path)[0] == 404


def test_no_name_reaches_the_upstream_index_that_is_none_or_is_our_own(place: Place) -> None:
    before = len(place.upstream.asked)
    for path in (
        "/simple/acme-tools/",
        "/files/acme-tools/acme_tools-1.0-py3-none-any.whl",
        "/simple/demo%3Fx=1/",
        "/simple/demo%2F..%2Fsecret/",
        "/simple/%2e%2e/",
        "/simple/d%C3%A9mo/",
        f"/simple/{'a' * 300}/",
    ):
        assert get(place.url, path)[0] in {301, 404}, path
    assert len(place.upstream.asked) == before
    assert get(place.url, "/simple/unknown/")[0] == 404
    assert len(place.upstream.asked) == before + 1


def test_credentials_go_to_the_upstream_index_alone(place: Place) -> None:
    get(place.url, "/files/demo/demo-1.0-py3-none-any.whl")
    assert any("authorization" in headers for _, headers in place.upstream.asked)
    assert place.hosts.asked
    assert not any("authorization" in headers for _, headers in place.hosts.asked)
    # a redirect elsewhere takes none along
    place.upstream.redirect("/simple/moved/", f"http://{place.hosts.host}/moved/")
    get(place.url, "/simple/moved/")
    assert place.hosts.asked[-1][0] == "/moved/"
    assert "authorization" not in place.hosts.asked[-1][1]


def test_an_upstream_that_fails_is_said_to_without_its_address(place: Place) -> None:
    cases: dict[str, tuple[Callable[[BaseHTTPRequestHandler], Answer | None], int]] = {
        "fails": (lambda _: (500, {}, b"secret detail"), 502),
        "closes": (lambda _: None, 502),
        "lies": (lambda _: (200, {"Content-Type": "image/png"}, b"x"), 502),
        "loops": (lambda _: (302, {"Location": "/simple/loops/"}, b""), 502),
        "inward": (lambda _: (302, {"Location": "http://169.254.169.254/x"}, b""), 502),
        "odd": (lambda _: (302, {"Location": "file:///etc/passwd"}, b""), 502),
        "stalls": (lambda _: time.sleep(4), 504),
    }
    for name, (route, status) in cases.items():
        place.upstream.routes[f"/simple/{name}/"] = route
        found, _, body = get(place.url, f"/simple/{name}/")
        assert found == status, (name, body)
        assert json.loads(body)["reason"] == "upstream"
        for hidden in (place.upstream.host, "secret", PASSWORD, "169.254"):
            assert hidden.encode() not in body


def test_requests_for_one_page_share_one_answer(place: Place) -> None:
    list_project(place.upstream, "shared", [])
    inner = place.upstream.routes["/simple/shared/"]
    gate = threading.Event()

    def slow(request: BaseHTTPRequestHandler) -> Answer | None:
        gate.wait(1)
        return inner(request)

    place.upstream.routes["/simple/shared/"] = slow
    before = len(place.upstream.asked)
    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(get, place.url, "/simple/shared/") for _ in range(20)]
        gate.set()
        assert {request.result()[0] for request in asked} == {200}
    assert len(place.upstream.asked) == before + 1


def test_a_client_that_does_not_read_holds_no_file_in_memory(place: Place) -> None:
    total, sent, cut = 512 << 20, 0, threading.Event()

    def endless(request: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        request.send_response(200)
        request.send_header("Content-Length", str(total))
        request.end_headers()
        try:
            while sent < total:
                request.wfile.write(bytes(1 << 16))
                sent += 1 << 16
        except OSError:
            pass
        cut.set()

    place.hosts.routes["/huge-1.0.tar.gz"] = endless
    listed = {
        "filename": "huge-1.0.tar.gz",
        "url": f"http://{place.hosts.host}/huge-1.0.tar.gz",
        "hashes": {"sha256": "1" * 64},
        "upload-time": OLD.isoformat(),
    }
    list_project(place.upstream, "huge", [listed])
    link = http.client.HTTPConnection(urlsplit(place.url).netloc, timeout=SECONDS)
    link.request("GET", "/files/huge/huge-1.0.tar.gz")
    try:
        assert link.getresponse().status == 200
        assert cut.wait(SECONDS), "the connection upstream ends with the client's"
    finally:
        link.close()
    assert sent < 64 << 20


def test_check_names_the_index_upstream(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "index.toml"
    file.write_text('tenant = "acme"\n[upstream]\nurl = "https://index.example/simple"\n')
    assert main(["index", "--check", str(file)]) == 0
    assert "https://index.example/simple/" in capsys.readouterr().out
    file.write_text(file.read_text() + 'username = "u"\npassword = "env:NO_SUCH_VARIABLE_SET"\n')
    assert main(["index", "--check", str(file), "--format", "json"]) == 2
    assert main(["index"]) == 2
