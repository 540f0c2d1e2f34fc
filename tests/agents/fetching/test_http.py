"""Reading over HTTP: ranges, redirects, cut bodies, addresses."""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import urllib3

from agents.fetching.addresses import checked_address, is_public
from agents.fetching.deadlines import Pace
from agents.fetching.errors import FetchError, RefusedError
from agents.fetching.fetch_scope import FetchRules, parse_location
from agents.fetching.sources import BLOCK, sha256_stream
from tests.each import each

BODY = random.Random(1).randbytes(3 * BLOCK + 17)


def test_only_the_blocks_asked_for_are_fetched(server, fetcher):
    server.serve("/m/model.bin", BODY)
    with fetcher(f"http://{server.host}/m").open(f"http://{server.host}/m/model.bin") as source:
        assert source.size == len(BODY)
        assert source.read(BLOCK + 5, 10) == BODY[BLOCK + 5 : BLOCK + 15]
        assert source.read(BLOCK + 20, 10) == BODY[BLOCK + 20 : BLOCK + 30]
        assert source.fetched == BLOCK
        assert source.read(len(BODY) - 3, 100) == BODY[-3:]
        assert sha256_stream(source) == hashlib.sha256(BODY).hexdigest()


def test_empty_object_is_read_as_empty(server, fetcher):
    server.serve("/m/empty", b"")
    with fetcher(f"http://{server.host}/m").open(f"http://{server.host}/m/empty") as source:
        assert source.size == 0
        assert source.read(0, 10) == b""


def test_server_without_ranges_is_spooled_up_to_a_limit(server, fetcher):
    server.answer("/m/model.bin", 200, {}, BODY)
    uri = f"http://{server.host}/m/model.bin"
    with fetcher(f"http://{server.host}/m").open(uri) as source:
        assert source.read(5, 10) == BODY[5:15]
        assert sha256_stream(source) == hashlib.sha256(BODY).hexdigest()
    with pytest.raises(FetchError, match="no ranges"):
        fetcher(f"http://{server.host}/m", spool_bytes=1000).open(uri)


def test_cut_body_is_an_error_and_never_a_shorter_file(server, fetcher):
    server.answer("/m/a", 200, {"Content-Length": "1000"}, b"x" * 500)
    server.answer(
        "/m/b", 206, {"Content-Range": "bytes 0-999/1000", "Content-Length": "1000"}, b"x" * 500
    )
    one = fetcher(f"http://{server.host}/m")
    with pytest.raises(FetchError, match="cut"):
        one.open(f"http://{server.host}/m/a")
    with one.open(f"http://{server.host}/m/b") as source, pytest.raises(FetchError, match="cut"):
        source.read(0, 10)


def test_server_that_recovers_is_asked_again(server, fetcher):
    server.serve("/m/a", b"0123456789")
    good = server.routes["/m/a"]
    answers = [(503, {}, b""), None]
    server.routes["/m/a"] = lambda request: answers.pop(0) if answers else good(request)
    with fetcher(f"http://{server.host}/m").open(f"http://{server.host}/m/a") as source:
        assert source.read(0, 10) == b"0123456789"
    assert len(server.asked) == 4


def test_object_that_changes_while_read_is_an_error(server, fetcher):
    server.serve("/m/a", BODY)
    with fetcher(f"http://{server.host}/m").open(f"http://{server.host}/m/a") as source:
        source.read(0, 10)
        server.serve("/m/a", BODY[::-1], ETag='"v2"')
        with pytest.raises(FetchError, match="changed"):
            source.read(2 * BLOCK, 10)


def test_wrong_range_and_unasked_encoding_are_errors(server, fetcher):
    one = fetcher(f"http://{server.host}/m")
    server.answer("/m/r", 206, {"Content-Range": "bytes 5-9/10"}, b"56789")
    server.answer("/m/e", 200, {"Content-Encoding": "gzip"}, b"xx")
    for name in ("r", "e"):
        with pytest.raises(FetchError):
            one.open(f"http://{server.host}/m/{name}")


@pytest.mark.parametrize(
    "target",
    ["/other/secret", "http://127.0.0.1:1/m/a", "http://169.254.169.254/latest", "file:///etc/passwd",
     "//127.0.0.1:1/m/a", "/m/../other/secret", "https://user@host.example/m"],
)  # fmt: skip
def test_redirect_out_of_the_root_is_refused(server, fetcher, target):
    server.redirect("/m/a", target)
    server.serve("/other/secret", b"secret")
    with pytest.raises(RefusedError):
        fetcher(f"http://{server.host}/m").open(f"http://{server.host}/m/a")
    assert [path for path, _ in server.asked] == ["/m/a"]


@pytest.mark.parametrize(
    ("status", "headers"),
    [(302, {"Location": "http://[bad/"}),
     (206, {"Content-Range": f"bytes 0-0/{'9' * 5000}"}),
     (206, {"Content-Range": f"bytes 0-{'9' * 5000}/1"}),
     (206, {"Content-Range": f"bytes 0-0/{2**60}"}),
     (416, {"Content-Range": f"bytes */{'9' * 5000}"}),
     (200, {"Content-Length": "9" * 5000}),
     (200, {"Content-Length": "\xb2"})],
)  # fmt: skip
def test_headers_that_cannot_be_read_are_errors_of_the_fetch(server, fetcher, status, headers):
    def route(request):
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(b"x")

    server.routes["/m/a"] = route
    with pytest.raises(FetchError):
        fetcher(f"http://{server.host}/m", attempts=1).open(f"http://{server.host}/m/a")


def test_redirect_within_the_root_is_followed_and_loops_end(server, fetcher):
    server.redirect("/m/a", "b")
    server.serve("/m/b", b"here")
    server.redirect("/m/loop", "/m/loop")
    one = fetcher(f"http://{server.host}/m")
    with one.open(f"http://{server.host}/m/a") as source:
        assert source.read(0, 4) == b"here"
    with pytest.raises(FetchError, match="redirects"):
        one.open(f"http://{server.host}/m/loop")


def test_token_goes_to_its_own_host_only(server, fetcher):
    server.serve("/m/a", b"x")
    secret = {"token": "s3cret", "hosts": (server.host,)}
    fetcher(f"http://{server.host}/m", credentials=secret, private=(server.host,)).open(
        f"http://{server.host}/m/a"
    ).close()
    fetcher(f"http://{server.host}/m", credentials={**secret, "hosts": ("else.example",)}).open(
        f"http://{server.host}/m/a"
    ).close()
    fetcher(f"http://{server.host}/m", credentials=secret, tenant="tenant-b").open(
        f"http://{server.host}/m/a"
    ).close()
    assert [headers.get("authorization") for _, headers in server.asked] == [
        "Bearer s3cret",
        None,
        None,
    ]


def test_name_that_leads_to_a_private_address_is_refused_and_not_connected(server, fetcher):
    one = fetcher(
        f"http://models.example:{server.port}/", private=(), resolve=lambda *_: ["127.0.0.1"]
    )
    with pytest.raises(RefusedError, match="not public"):
        one.open(f"http://models.example:{server.port}/a")
    assert server.asked == []


def test_connection_goes_to_the_address_that_was_checked(server, fetcher):
    server.serve("/a", BODY)
    answers = [["127.0.0.1"], ["10.0.0.1"], ["10.0.0.1"]]
    one = fetcher(f"http://models.example:{server.port}/", resolve=lambda *_: answers.pop(0))
    with one.open(f"http://models.example:{server.port}/a") as source:
        assert source.read(2 * BLOCK, 4) == BODY[2 * BLOCK : 2 * BLOCK + 4]
    assert len(answers) == 2
    assert server.asked[0][1]["host"] == f"models.example:{server.port}"


def test_a_name_that_becomes_internal_after_it_was_checked_leads_nowhere(fetcher, monkeypatch):
    """DNS rebinding: the first answer is public, every later one is the machine's own."""
    answers = iter(["93.184.216.34"])
    connected = []

    def connect(address, *_args, **_more):
        connected.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(urllib3.util.connection, "create_connection", connect)
    resolving = {"private": (), "resolve": lambda *_: [next(answers, "127.0.0.1")]}
    one = fetcher("http://models.example/", **resolving)
    for name in "ab":
        with pytest.raises(FetchError, match="did not answer"):
            one.open(f"http://models.example/{name}")
    assert set(connected) == {"93.184.216.34"}
    other = fetcher("http://models.example/", **resolving)
    with pytest.raises(RefusedError, match="not public"):
        other.open("http://models.example/a")
    assert set(connected) == {"93.184.216.34"}


def test_one_private_answer_among_public_ones_is_enough_to_refuse():
    with pytest.raises(RefusedError):
        checked_address("a.example", 443, (), lambda *_: ["93.184.216.34", "10.0.0.8"])
    assert checked_address("a.example", 443, ("10.0.0.0/8",), lambda *_: ["10.0.0.8"]) == "10.0.0.8"
    with pytest.raises(FetchError):
        checked_address("a.example", 443, (), lambda *_: [])


@each(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.100.100.200",
     "0.0.0.0", "224.0.0.1", "255.255.255.255", "168.63.129.16", "::1", "fe80::1", "fd00:ec2::254",
     "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "::", "ff02::1",
     "192.0.0.192", "192.88.99.1", "fec0::1", "::ffff:192.0.0.192", "3fff::1", "5f00::1"],
)  # fmt: skip
def test_internal_addresses_are_not_public(address):
    assert not is_public(ipaddress.ip_address(address))


@each(
    "network",
    [
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
        "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4", "255.255.255.255/32", "224.0.0.0/4",
        "::1/128", "::/128", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/32",
        "2001:2::/48", "2001:10::/28", "2001:db8::/32", "3fff::/20", "5f00::/16", "fc00::/7",
        "fe80::/10", "fec0::/10", "ff00::/8", "::/96",
        *(f"{prefix}{inner}" for inner in ("127.0.0.0", "10.0.0.0", "169.254.0.0", "192.168.0.0")
          for prefix in ("::ffff:", "64:ff9b::")),
        *(f"2002:{inner}::/{length}" for inner, length in
          (("7f00", 24), ("a00", 24), ("a9fe", 32), ("c0a8", 32), ("6440", 26), ("c000:200", 40))),
    ],
)  # fmt: skip
def test_no_special_purpose_range_is_public(network):
    """Those of IANA's registries of both versions that are not globally reachable, whole."""
    addresses = ipaddress.ip_network(network)
    first, last = addresses[0], addresses[-1]
    inner = addresses[addresses.num_addresses // 2]
    assert [is_public(address) for address in (first, inner, last)] == [False] * 3


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"]
)
def test_public_addresses_are(address):
    assert is_public(ipaddress.ip_address(address))


def test_server_that_sends_byte_by_byte_is_given_up(server, fetcher):
    """Its bytes come one by one, each well within the time that a read may take."""
    done = threading.Event()

    def drip(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000000")
        handler.end_headers()
        with contextlib.suppress(OSError):
            while not done.wait(0.01):
                handler.wfile.write(b"x")

    server.routes["/m.bin"] = drip
    try:
        with pytest.raises(FetchError, match="sends less than 16384 bytes a second"):
            fetcher(f"http://{server.host}/", slow_seconds=0.2).open(f"http://{server.host}/m.bin")
    finally:
        done.set()


def test_pace_counts_from_the_beginning_of_the_answer():
    now = [0.0]
    rules = FetchRules(bytes_per_second=100, slow_seconds=10)
    pace = Pace(rules, clock=lambda: now[0])
    location = parse_location("https://models.example/m.bin")
    now[0] = 10.0
    pace.came(1, location)
    now[0] = 11.0
    pace.came(99, location)
    now[0] = 12.0
    with pytest.raises(FetchError, match="less than 100 bytes a second"):
        pace.came(99, location)


@pytest.mark.parametrize("what", ["headers", "body"])
def test_an_answer_that_is_never_complete_ends_when_its_time_is_over(server, fetcher, what):
    """Each of its bytes comes well within the time that a read may take."""
    done = threading.Event()

    def drip(handler):
        if what == "body":
            handler.send_response(200)
            handler.send_header("Content-Length", "1000000000")
            handler.end_headers()
        piece = b"x" if what == "headers" else b"x" * 65536
        with contextlib.suppress(OSError):
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: " if what == "headers" else b"")
            while not done.wait(0.05):
                handler.wfile.write(piece)

    server.routes["/m.bin"] = drip
    rules = {"slow_seconds": 0.5} if what == "headers" else {"total_seconds": 1.0}
    one = fetcher(f"http://{server.host}/", attempts=2, **rules)
    try:
        with pytest.raises(FetchError, match=r"did not answer|was cut|not fetched within"):
            one.open(f"http://{server.host}/m.bin")
    finally:
        done.set()


def test_the_ranges_of_a_file_share_its_time(server, fetcher):
    server.serve("/m.bin", bytes(4 << 20))
    one = fetcher(f"http://{server.host}/", total_seconds=0.4)
    with one.open(f"http://{server.host}/m.bin") as source:
        time.sleep(0.5)  # what is tested is that time passes
        with pytest.raises(FetchError, match=r"not fetched within 0\.4 s"):
            source.read(1 << 20, 10)


def test_files_read_in_several_threads_have_times_of_their_own(server, fetcher):
    server.serve("/m.bin", bytes(range(256)) * 4096)
    one = fetcher(f"http://{server.host}/")

    def read(_: int) -> bytes:
        with one.open(f"http://{server.host}/m.bin") as source:
            return source.read(512 << 10, 256)

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(read, range(16))) == {bytes(range(256))}
