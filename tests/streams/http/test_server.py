"""The HTTP server under slow, malformed and numerous clients."""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
import threading
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from structlog.testing import capture_logs

from schemas import dead_letters as reasons
from schemas.errors import TidewatchError, UnreadableRecordError
from streams.http.bodies import read_body
from streams.http.connection import PEER
from streams.http.listening import Limits, Listen, check_listen
from streams.http.server import HttpServer
from tests.streams.http.certificates import Authority
from tests.streams.http.serving import SECONDS, connect, read_all, read_answer, say, serving

LIMIT = 1000
QUICK = Limits(head_seconds=0.3, body_seconds=0.3, idle_seconds=1, write_seconds=0.3)
SECRET = "hunter2-hunter2-hunter2"


async def echo(request: Request) -> Response:
    """Answer the size of the body."""
    body = await read_body(request, limit=LIMIT, seconds=QUICK.body_seconds)
    return PlainTextResponse(str(len(body)))


async def fail(_request: Request) -> Response:
    """Fail as a programming error does."""
    raise RuntimeError(SECRET)


async def refuse(_request: Request) -> Response:
    """Refuse as a reader of records does."""
    raise UnreadableRecordError(reasons.INVALID_JSON, "data: not JSON")


async def misconfigured(_request: Request) -> Response:
    """Fail for a reason that is not the client's."""
    raise TidewatchError("the disk is full", where=SECRET)


async def big(_request: Request) -> Response:
    """Answer more than the buffers of a connection hold."""
    return Response(bytes(32 * 1024 * 1024))


async def peer(request: Request) -> Response:
    """Answer the subject of the client's certificate."""
    certificate = request.scope["state"].get(PEER)
    return PlainTextResponse("nobody" if certificate is None else str(certificate["subject"]))


ROUTES = [
    Route("/echo", echo, methods=["POST"]),
    Route("/fail", fail),
    Route("/refuse", refuse),
    Route("/misconfigured", misconfigured),
    Route("/big", big),
    Route("/peer", peer),
]
GET = b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def post(body: bytes, *headers: bytes) -> bytes:
    lines = [b"POST /echo HTTP/1.1", b"Host: x", b"Connection: close", *headers]
    return b"\r\n".join([*lines, b"", body])


def refused(reason: str) -> float:
    labels = {"app": "trial", "reason": reason}
    return REGISTRY.get_sample_value("tidewatch_http_refused_total", labels) or 0.0


def test_a_body_up_to_the_limit_is_taken_and_one_byte_more_is_not() -> None:
    with serving(ROUTES) as server:
        for size, status in ((0, 200), (LIMIT, 200), (LIMIT + 1, 413)):
            answer = say(server.port, post(bytes(size), b"Content-Length: %d" % size))
            assert answer.status == status
            chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (size, bytes(size)) if size else b"0\r\n\r\n"
            answer = say(server.port, post(chunk, b"Transfer-Encoding: chunked"))
            assert answer.status == status
    problem = json.loads(answer.body)
    assert problem["reason"] == reasons.TOO_LARGE
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_size_that_is_too_large_is_refused_before_the_body_is_sent() -> None:
    with serving(ROUTES) as server, connect(server.port) as link:
        link.sendall(post(b"", b"Content-Length: 99999999999", b"Expect: 100-continue"))
        raw = read_all(link)
    assert read_answer(raw).status == 413
    assert b"100 Continue" not in raw


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate, identity", b"br", b"x"])
def test_a_compressed_body_is_refused(encoding: bytes) -> None:
    with serving(ROUTES) as server:
        answer = say(
            server.port, post(b"123", b"Content-Length: 3", b"Content-Encoding: " + encoding)
        )
    assert answer.status == 415
    assert answer.headers["accept-encoding"] == "identity"


SMUGGLED = {
    "length and chunks": (b"Content-Length: 3", b"Transfer-Encoding: chunked"),
    "two lengths": (b"Content-Length: 3", b"Content-Length: 4"),
    "a list of lengths": (b"Content-Length: 3, 4",),
    "a length with a sign": (b"Content-Length: +3",),
    "two encodings": (b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
    "an unknown encoding": (b"Transfer-Encoding: xchunked",),
    "a blank before the colon": (b"Content-Length : 3",),
    "two hosts": (b"Content-Length: 3", b"Host: y"),
    "two credentials": (b"Content-Length: 3", b"Authorization: a", b"authorization: b"),
    "two content types": (b"Content-Length: 3", b"Content-Type: a/b", b"Content-Type: a/c"),
    "a null byte": (b"Content-Length: 3", b"X: a\0b"),
}


@pytest.mark.parametrize("headers", SMUGGLED.values(), ids=SMUGGLED.keys())
def test_ambiguous_request_is_refused(
    headers: tuple[bytes, ...],
) -> None:
    # a body that is a request of its own to a reader that ends the first one before it
    inner = b"0\r\n\r\nGET /peer HTTP/1.1\r\nHost: x\r\n\r\n"
    with serving(ROUTES, QUICK) as server, connect(server.port) as link:
        link.sendall(b"\r\n".join([b"POST /echo HTTP/1.1", b"Host: x", *headers, b"", b""]) + inner)
        raw = read_all(link)
    assert read_answer(raw).status in {400, 501}, raw
    assert b"nobody" not in raw


def test_a_head_that_is_too_large_is_refused() -> None:
    with serving(ROUTES, Limits(head_bytes=2000)) as server:
        answer = say(server.port, post(b"", b"X: " + bytes(b"x" * 4000)))
    assert answer.status == 431


@pytest.mark.parametrize(
    ("begun", "status"),
    [
        (b"", 408),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nX: ", 408),
        (post(b"12", b"Content-Length: 3"), 408),
        (post(b"3\r\n1", b"Transfer-Encoding: chunked"), 408),
    ],
    ids=["nothing", "half a head", "half a body", "half a chunk"],
)
def test_unfinished_request_is_answered_and_closed(begun: bytes, status: int) -> None:
    with serving(ROUTES, QUICK) as server, connect(server.port) as link:
        link.sendall(begun)
        assert read_answer(read_all(link)).status == status


def test_slow_request_head_times_out() -> None:
    before = refused("slow-head")
    with serving(ROUTES, QUICK) as server, connect(server.port) as link:
        done = threading.Event()

        def drip() -> None:
            try:
                while not done.wait(0.02):
                    link.sendall(b"x")
            except OSError:
                return  # it was cut

        link.sendall(b"GET /peer HTTP/1.1\r\nHost: x\r\nX: ")
        dripping = threading.Thread(target=drip)
        dripping.start()
        raw = read_all(link)
        done.set()
        dripping.join(SECONDS)
    assert raw == b"" or read_answer(raw).status == 408  # reset, if bytes crossed the answer
    assert refused("slow-head") == before + 1


def test_unread_response_is_cut() -> None:
    before = refused("unread-answer")
    with serving(ROUTES, QUICK) as server, connect(server.port) as link:
        link.sendall(GET % b"/big")
        done = threading.Event()
        while refused("unread-answer") == before:
            assert not done.wait(0.02)
        raw = read_all(link)
    assert len(raw) < 32 * 1024 * 1024


def test_one_address_can_not_take_the_connections_of_another() -> None:
    limits = Limits(connections=8, connections_per_address=3)
    with serving(ROUTES, limits) as server:
        held = [connect(server.port, "127.0.0.2") for _ in range(3)]
        for link in held:
            link.sendall(b"GET /peer HTTP/1.1\r\n")
        answer = say(server.port, GET % b"/peer", "127.0.0.2")
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert say(server.port, GET % b"/peer").status == 200
        for link in held:
            link.close()


@pytest.mark.slow
def test_many_slow_clients_leave_room_for_a_quick_one() -> None:
    # files of this process are allowed for them: for both ends of each connection
    limits = Limits(connections=2500, connections_per_address=1000, head_seconds=60)
    with serving(ROUTES, limits) as server:
        held = [connect(server.port, "127.0.0.2") for _ in range(1000)]
        for link in held:
            link.sendall(b"POST /echo HTTP/1.1\r\nHost:")
        assert say(server.port, GET % b"/peer").status == 200
        for link in held:
            link.close()


def test_errors_are_problem_documents_without_what_is_ours() -> None:
    found = {}
    with capture_logs() as logs, serving(ROUTES) as server:
        for page in ("fail", "misconfigured", "refuse", "nowhere"):
            found[page] = say(server.port, GET % b"/%s" % page.encode())
        found["method"] = say(server.port, GET % b"/echo")
    assert {page: answer.status for page, answer in found.items()} == {
        "fail": 500,
        "misconfigured": 500,
        "refuse": 400,
        "nowhere": 404,
        "method": 405,
    }
    for answer in found.values():
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert json.loads(answer.body)["status"] == answer.status
        assert SECRET.encode() not in answer.body
    assert json.loads(found["refuse"].body)["reason"] == reasons.INVALID_JSON
    assert [line["route"] for line in logs if line["event"] == "request-failed"] == [
        "/fail",
        "/misconfigured",
    ]


def test_the_access_log_names_the_request_and_no_secret() -> None:
    request = (
        b"GET /peer?token=%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
        b"X-Webhook-Secret: %s\r\nCookie: %s\r\nConnection: close\r\n\r\n"
    )
    with capture_logs() as logs, serving(ROUTES) as server:
        say(server.port, request % ((SECRET.encode(),) * 4))
        say(server.port, GET % b"/%1b%5b31m%0aforged")
    shown = [line for line in logs if line["event"] == "request"]
    assert [(line["path"], line["status"]) for line in shown] == [
        ("/peer", 200),
        ("/\\u001b[31m\\u000aforged", 404),
    ]
    assert SECRET not in repr(logs)


def test_two_requests_on_one_connection_are_two_answers() -> None:
    with serving(ROUTES) as server:
        link = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SECONDS)
        for size in (1, 2):
            link.request("POST", "/echo", bytes(size))
            assert link.getresponse().read() == str(size).encode()
        link.close()


def test_a_stop_lets_a_request_finish_and_takes_no_other() -> None:
    begun, go_on = threading.Event(), threading.Event()

    async def slow(_request: Request) -> Response:
        begun.set()
        await asyncio.to_thread(go_on.wait, SECONDS)
        return PlainTextResponse("done")

    with serving([Route("/slow", slow)], drain_seconds=SECONDS) as server:
        link = connect(server.port)
        link.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        assert begun.wait(SECONDS)
        closing = threading.Thread(target=_finish_when_refused, args=(server.port, go_on))
        closing.start()
    answer = read_answer(read_all(link))
    link.close()
    closing.join(SECONDS)
    assert (answer.status, answer.body) == (200, b"done")
    assert go_on.is_set()


def _finish_when_refused(port: int, go_on: threading.Event) -> None:
    """Let the request finish once the server accepts no other."""
    waited = threading.Event()
    for _ in range(int(SECONDS / 0.05)):
        try:
            connect(port).close()
        except OSError:
            go_on.set()
            return
        waited.wait(0.05)


def test_tls_is_spoken_and_a_client_certificate_is_known(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    listen = Listen(
        port=0,
        certificate=authority.issue("localhost").certificate,
        key=authority.issue("localhost").key,
        client_ca=authority.certificate,
    )
    client = authority.issue("ci-runner")
    foreign = Authority(tmp_path, "foreign").issue("ci-runner")
    with serving(ROUTES, listen=listen) as server:
        assert server.url == f"https://127.0.0.1:{server.port}"
        answers = {}
        for name, pair in {"none": None, "known": client, "foreign": foreign}.items():
            context = ssl.create_default_context(cafile=str(authority.certificate))
            if pair is not None:
                context.load_cert_chain(pair.certificate, pair.key)
            try:
                with (
                    connect(server.port) as link,
                    context.wrap_socket(link, server_hostname="localhost") as secure,
                ):
                    secure.sendall(GET % b"/peer")
                    answers[name] = read_answer(read_all(secure)).body
            except (ssl.SSLError, ConnectionError, IndexError):
                answers[name] = b"refused"
        assert answers["none"] == b"nobody"
        assert b"ci-runner" in answers["known"]
        assert answers["foreign"] == b"refused"
        # the plain protocol is no answer at all
        with connect(server.port) as link:
            link.sendall(GET % b"/peer")
            assert b"200" not in read_all(link)


def test_an_address_that_is_taken_is_said_so() -> None:
    with serving(ROUTES) as server, pytest.raises(TidewatchError, match="can't listen"):
        HttpServer("trial", [], Listen(port=server.port), Limits(), drain_seconds=1)


@pytest.mark.parametrize(
    ("listen", "limits", "said"),
    [
        (Listen(host="0.0.0.0"), Limits(), "secrets would be readable"),
        (Listen(certificate=Path("x")), Limits(), "belong together"),
        (Listen(client_ca=Path("x")), Limits(), "needs listen.certificate"),
        (Listen(port=70000), Limits(), "listen.port"),
        (Listen(), Limits(body_seconds=0), "limits.body_seconds"),
        (Listen(host="0.0.0.0", plain_http=True), Limits(), None),
    ],
)
def test_settings_that_contradict_themselves(
    listen: Listen, limits: Limits, said: str | None
) -> None:
    problem = check_listen(listen, limits)
    assert problem is None if said is None else said in str(problem)
