"""Facts come from a TAXII collection whole or not at all, whatever its server does."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

import pytest

from agents.intelligence import taxii
from agents.intelligence.taxii import TaxiiError, read_collection
from tests.agents.fetching.servers import Server, running

PATH = "/api1/collections/c/objects/"


def indicator(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "type": "indicator",
        "id": f"indicator--{number:08}-0000-4000-8000-000000000000",
        "pattern": f"[file:hashes.'SHA-256' = '{number:064x}']",
        "pattern_type": "stix",
        **changes,
    }


@pytest.fixture
def server():
    with running() as started:
        yield started


def url(server: Server) -> str:
    return f"http://{server.host}{PATH.removesuffix('objects/')}"


def pages(
    server: Server, *envelopes: tuple[dict[str, Any], dict[str, str]]
) -> list[dict[str, Any]]:
    """Answer one envelope after the other; return what was asked."""
    asked: list[dict[str, Any]] = []
    left = list(envelopes)

    def route(request: Any) -> tuple[int, dict[str, str], bytes]:
        asked.append(parse_qs(request.path.partition("?")[2]))
        body, headers = left.pop(0) if len(left) > 1 else left[0]
        return 200, dict(headers), json.dumps(body).encode()

    server.routes[PATH] = route
    return asked


def test_pages_are_followed_to_the_end_and_the_last_time_is_reported(server: Server) -> None:
    asked = pages(
        server,
        ({"more": True, "next": "n1", "objects": [indicator(1)]}, {taxii._LAST: "t1"}),
        ({"more": False, "objects": [indicator(2, revoked=True)]}, {taxii._LAST: "t2"}),
    )
    found = read_collection(url(server), token="s" * 20)
    assert sorted(found.feed.facts) == [f"sha256:{1:064x}"]
    assert sorted(found.feed.withdrawn) == [f"sha256:{2:064x}"]
    assert found.last == "t2"
    assert [request.get("next") for request in asked] == [None, ["n1"]]
    assert all(request["match[type]"] == ["indicator"] for request in asked)
    assert all(headers["authorization"] == f"Bearer {'s' * 20}" for _, headers in server.asked)


def test_a_server_without_next_is_asked_for_what_was_added_since(server: Server) -> None:
    asked = pages(
        server,
        ({"more": True, "objects": [indicator(1)]}, {taxii._LAST: "t1"}),
        ({"objects": [indicator(2)]}, {taxii._LAST: "t2"}),
    )
    assert len(read_collection(url(server), since="t0").feed.facts) == 2
    assert [request["added_after"] for request in asked] == [["t0"], ["t1"]]
    assert "authorization" not in server.asked[0][1]


def test_an_empty_collection_has_no_facts(server: Server) -> None:
    pages(server, ({}, {}))
    found = read_collection(url(server), since="t0", user="me", token="s" * 20)
    assert (found.feed.facts, found.last) == ({}, "t0")
    assert server.asked[0][1]["authorization"].startswith("Basic ")


@pytest.mark.parametrize(
    "envelope",
    [
        ({"more": True, "objects": [indicator(1)]}, {}),
        ({"more": True, "next": "same", "objects": [indicator(1)]}, {taxii._LAST: "t"}),
        ({"objects": {}}, {}),
        ([], {}),
        ({"objects": [{"type": "indicator"}]}, {}),
    ],
)
def test_inconsistent_server_is_refused(server: Server, envelope: Any) -> None:
    pages(server, envelope)
    with pytest.raises(taxii.InvalidFeedError):
        read_collection(url(server))


@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "token"), (404, "the collection does not exist"), (406, "2.1"), (302, "refuses")],
)
def test_a_refusal_is_explained(server: Server, status: int, said: str) -> None:
    server.answer(PATH, status, {"Location": "https://elsewhere.example/"})
    with pytest.raises(TaxiiError, match=said):
        read_collection(url(server), token="s" * 20)
    assert len(server.asked) == 1, "the token goes nowhere else"


def test_a_server_that_is_busy_says_when_to_come_back(server: Server) -> None:
    server.answer(PATH, 503, {"Retry-After": "7"})
    with pytest.raises(TaxiiError) as error:
        read_collection(url(server))
    assert "in 7 s" in error.value.explain()


def test_more_than_fits_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taxii, "BYTES_LIMIT", 100)
    pages(server, ({"objects": [indicator(1)]}, {}))
    with pytest.raises(TaxiiError, match="more than"):
        read_collection(url(server))


@pytest.mark.parametrize(
    "address",
    ["", "taxii.example", "http://taxii.example/c/", "ftp://127.0.0.1/", "https://u:p@h.example/",
     "http://[::1", "http://10.0.0.1/"],
)  # fmt: skip
def test_a_token_is_sent_to_no_address_where_others_read_it(address: str) -> None:
    with pytest.raises(TaxiiError, match="must not be sent to this address"):
        read_collection(address, token="s" * 20)


def test_unreachable_server_is_reported(server: Server) -> None:
    server.routes[PATH] = lambda _: None
    with pytest.raises(TaxiiError, match="can't be reached"):
        read_collection(url(server))
