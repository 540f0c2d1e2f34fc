"""Partners read what is shared with the OASIS client, each as far as its marking goes."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import requests
from stix2validator import ValidationOptions, validate_string
from taxii2client.common import TokenAuth
from taxii2client.exceptions import TAXIIServiceException
from taxii2client.v21 import ApiRoot, Server, as_pages
from taxii2client.v21 import Collection as Client

from schemas.cloudevents import format_time
from schemas.documents.stix import SharedIndicator, indicator_bundle
from schemas.findings import Indicator
from schemas.severity import Category, Disposition, Tlp
from streams.http.secrets import Tokens
from streams.http.server import HttpServer
from streams.taxii.config import TaxiiConfig, TaxiiReader
from streams.taxii.filters import MAX_MATCHES
from streams.taxii.routes import TAXII_21, TaxiiServer
from streams.taxii.shelf import TLP_ORDER, Collection, Shelf
from tests.each import each
from tests.schemas import examples
from tests.streams.http.serving import serving

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning:taxii2client")]

ALICE = TaxiiReader(name="alice", token="env:A", tlp=Tlp.AMBER)
BOB = TaxiiReader(name="bob", token="env:B", tlp=Tlp.GREEN)
ACME = TaxiiReader(name="acme-soc", token="env:C", tlp=Tlp.AMBER, tenant="acme")
GLOBEX = TaxiiReader(name="globex-soc", token="env:D", tlp=Tlp.AMBER, tenant="globex")
READERS = (ALICE, BOB, ACME, GLOBEX)
SECRETS = {"alice": "a" * 20, "bob": "b" * 20, "acme-soc": "c" * 20, "globex-soc": "d" * 20}
START = 1_795_000_000_000
DAY = timedelta(days=1)


def shared(number: int, *, later: timedelta = timedelta(), **changes: Any) -> SharedIndicator:
    digest = f"{number:064x}"
    made = examples.shared(key=f"sha256:{digest}", value=digest)
    return msgspec.structs.replace(made, last_seen=examples.TIME + later, **changes)


def add(shelf: Shelf, number: int, tlp: Tlp = Tlp.AMBER, at: int = START, **changes: Any) -> None:
    shelf.add_bundle(indicator_bundle([shared(number, **changes)], tlp=tlp), at)


def own(shelf: Shelf, tenant: str, at: int = START, **changes: Any) -> None:
    """Put a tenant's own indicator on the shelf."""
    record = examples.ioc(**{"tenant": tenant, **changes})
    shelf.add_indicator(msgspec.json.encode(record), at)


def filled() -> Shelf:
    """Return five indicators marked amber, one of them in two versions, and two marked green."""
    made = Shelf(tenants=("acme", "globex"))
    for number in range(5):
        add(made, number, at=START + number)
    add(made, 0, at=START + 10, later=DAY)
    for number in (7, 8):
        add(made, number, Tlp.GREEN, at=START + number)
    own(made, "acme", at=START + 20)
    own(made, "globex", at=START + 21, id="ioc-2", tlp=Tlp.GREEN)
    return made


@contextmanager
def served(shelf: Shelf, *, ready: bool = True) -> Iterator[HttpServer]:
    config = TaxiiConfig(readers=READERS, page=4)
    tokens: Tokens[TaxiiReader] = Tokens()
    for reader in config.readers:
        tokens.add(SECRETS[reader.name], reader)
    with serving(TaxiiServer(config, tokens, shelf, ready=lambda: ready).routes()) as running:
        yield running


@pytest.fixture(scope="module")
def server() -> Iterator[HttpServer]:
    with served(filled()) as running:
        yield running


def collection(
    server: HttpServer, tlp: Tlp = Tlp.AMBER, who: str = "alice", tenant: str = ""
) -> Client:
    url = f"{server.url}/shared/collections/{Collection(tlp, tenant).id}/"
    return Client(url, user=who, password=SECRETS[who])


def get(server: HttpServer, path: str, who: str | None = "alice", **headers: str) -> Any:
    if who is not None:
        headers = {"Authorization": f"Bearer {SECRETS[who]}", **headers}
    return requests.get(f"{server.url}{path}", headers=headers, timeout=30)


def amber(path: str) -> str:
    return f"/shared/collections/{Collection(Tlp.AMBER).alias}/{path}"


def indicators(envelope: dict[str, Any]) -> list[str]:
    return [entry["id"] for entry in envelope.get("objects", []) if entry["type"] == "indicator"]


def test_a_client_finds_its_way_from_the_discovery_to_the_objects(server: HttpServer) -> None:
    found = Server(f"{server.url}/taxii2/", user="alice", password=SECRETS["alice"])
    assert found.title == "Tidewatch"
    (root,) = found.api_roots
    assert isinstance(root, ApiRoot)
    assert root.versions == [TAXII_21]
    assert [shelf.title for shelf in root.collections] == ["TLP:CLEAR", "TLP:GREEN", "TLP:AMBER"]
    green = root.collections[1]
    assert (green.can_read, green.can_write) == (True, False)
    assert len(indicators(green.get_objects(type="indicator"))) == 2


@pytest.mark.parametrize("auth", ["basic", "bearer", "token"])
def test_a_token_is_taken_in_each_way_that_clients_send_it(server: HttpServer, auth: str) -> None:
    url = f"{server.url}/shared/collections/{Collection(Tlp.GREEN).id}/"
    if auth == "token":
        assert Client(url, auth=TokenAuth(SECRETS["bob"])).title == "TLP:GREEN"
    elif auth == "basic":
        assert collection(server, Tlp.GREEN, "bob").title == "TLP:GREEN"
    else:
        assert get(server, "/shared/", "bob").status_code == 200


def test_a_reader_sees_what_its_marking_allows_and_nothing_else(server: HttpServer) -> None:
    root = ApiRoot(f"{server.url}/shared/", user="bob", password=SECRETS["bob"])
    assert [shelf.title for shelf in root.collections] == ["TLP:CLEAR", "TLP:GREEN"]
    with pytest.raises(requests.HTTPError, match="404"):
        collection(server, Tlp.AMBER, "bob").get_objects()
    nowhere = get(server, f"/shared/collections/{'0' * 8}-0000-4000-8000-{'0' * 12}/", "bob")
    hidden = get(server, amber(""), "bob")
    assert (hidden.status_code, hidden.content) == (nowhere.status_code, nowhere.content)


def test_a_tenants_reader_reads_its_own_indicators_beside_what_is_shared(
    server: HttpServer,
) -> None:
    root = ApiRoot(f"{server.url}/shared/", user="acme-soc", password=SECRETS["acme-soc"])
    shown = ["TLP:CLEAR", "TLP:GREEN", "TLP:AMBER"]
    assert [shelf.title for shelf in root.collections] == shown + [
        f"acme: {entry}" for entry in shown
    ]
    (found,) = [
        entry
        for entry in collection(server, who="acme-soc", tenant="acme").get_objects()["objects"]
        if entry["type"] == "indicator"
    ]
    assert found["pattern"] == f"[file:hashes.'SHA-256' = '{examples.DIGEST}']"
    assert collection(server, who="acme-soc").get_objects() == collection(server).get_objects()
    mine = get(server, "/shared/collections/own-tlp-amber/objects/", "acme-soc").json()
    assert found["id"] in indicators(mine)


@pytest.mark.parametrize("who", ["acme-soc", "alice"])
def test_no_reader_learns_of_another_tenant(server: HttpServer, who: str) -> None:
    nowhere = get(server, f"/shared/collections/{'0' * 8}-0000-4000-8000-{'0' * 12}/", who)
    for tlp in Tlp:
        hidden = get(server, f"/shared/collections/{Collection(tlp, 'globex').id}/", who)
        assert (hidden.status_code, hidden.content) == (404, nowhere.content)
    for path in ("/taxii2/", "/shared/", "/shared/collections/"):
        assert "globex" not in get(server, path, who).text
    if who == "alice":
        assert "own" not in get(server, "/shared/collections/", who).text.replace("known", "")
        assert get(server, "/shared/collections/own-tlp-amber/", who).status_code == 404
        return
    for tlp in TLP_ORDER[:3]:
        for tenant in ("", "acme"):
            pages = list(as_pages(collection(server, tlp, who, tenant).get_objects))
            assert "globex" not in json.dumps(pages)
    assert indicators(collection(server, Tlp.GREEN, who, "acme").get_objects()) == []


def test_a_tenants_indicators_are_valid_stix_and_each_revision_is_a_version() -> None:
    shelf = Shelf(tenants=("acme",))
    changes: list[dict[str, Any]] = [{}, {"status": "withdrawn"}, {"severity": "high"}]
    for number, changed in enumerate(changes, 1):
        own(shelf, "acme", **changed, revision=number, modified=examples.TIME + DAY)
    entries = list(shelf.after(Collection(Tlp.AMBER, "acme"), -1))
    objects = [json.loads(bytes(entry.body)) for entry in entries]
    found = [entry for entry in objects if entry["type"] == "indicator"]
    assert len({entry["id"] for entry in found}) == 1
    assert len({entry["modified"] for entry in found}) == 3
    first, gone, again = found
    assert first["valid_until"] == again["valid_until"] == "2027-11-20T00:00:00.000Z"
    assert gone["valid_until"] == gone["modified"], "it ends when it is withdrawn"
    assert not any(entry.get("revoked") for entry in found), "a later revision may bring it again"
    (shared_one,) = [
        entry
        for entry in json.loads(indicator_bundle([examples.shared()], tlp=Tlp.AMBER))["objects"]
        if entry["type"] == "indicator"
    ]
    assert shared_one["id"] != first["id"], "what is shared says less of it"
    newest = {entry["id"]: entry for entry in objects}.values()
    bundle = {
        "type": "bundle",
        "id": "bundle--" + first["id"].partition("--")[2],
        "objects": list(newest),
    }
    options = ValidationOptions(version="2.1", strict=True, disabled="103,302", enforce_refs=True)
    report = validate_string(json.dumps(bundle), options)
    assert report.is_valid, [str(error) for error in report.errors]


@each(
    ("kind", "key", "value", "pattern"),
    [
        (
            "package-version",
            "pypi:a-b@1.2",
            "a-b@1.2",
            "[software:name = 'a-b' AND software:version = '1.2']",
        ),
        ("dataset", "dataset:hub/x", "hub/x", "[software:name = 'hub/x']"),
        ("domain", "domain:evil.example", "evil.example", "[domain-name:value = 'evil.example']"),
        ("url", "url:x", "http://e.example/'", "[url:value = 'http://e.example/\\'']"),
        ("ipv4-addr", "ip:1", "192.0.2.7", "[ipv4-addr:value = '192.0.2.7']"),
        ("ipv6-addr", "ip:2", "2001:db8::7", "[ipv6-addr:value = '2001:db8::7']"),
        ("wallet", "wallet:x", "bc1qx", None),
        ("config", "pipeline:@acme/x", "x", None),
    ],
)
def test_a_value_is_matched_by_an_object_of_its_kind_or_not_at_all(
    kind: str, key: str, value: str, pattern: str | None
) -> None:
    shelf = Shelf(tenants=("acme",))
    own(shelf, "acme", indicator=Indicator(key=key, type=kind, value=value))
    entries = shelf.after(Collection(Tlp.AMBER, "acme"), -1)
    found = [json.loads(bytes(entry.body)) for entry in entries if entry.type == "indicator"]
    assert [entry["pattern"] for entry in found] == ([pattern] if pattern else [])
    assert shelf.unreadable == 0


def test_what_is_nothing_to_match_or_of_a_tenant_without_a_reader_is_not_kept() -> None:
    shelf = Shelf(tenants=("acme",))
    explains = Indicator(
        key="domain:data.acme.example",
        type="domain",
        value="data.acme.example",
        disposition=Disposition.CONTEXT,
    )
    own(shelf, "acme", indicator=explains)
    own(shelf, "acme", category=Category.HYGIENE)
    own(shelf, "globex")
    shelf.add_indicator(b"{", START)
    shelf.add_indicator(None, START)
    assert not any(list(shelf.after(Collection(tlp, "acme"), -1)) for tlp in Tlp)
    assert shelf.unreadable == 1


@pytest.mark.parametrize(
    "given",
    [
        None,
        "Bearer wrong",
        "Bearer",
        "Basic %%%",
        "Basic " + base64.b64encode(b"alice:wrong").decode(),
        "Basic " + base64.b64encode(f"bob:{'a' * 20}".encode()).decode(),
        "Digest " + "a" * 20,
    ],
)
@pytest.mark.parametrize("path", ["/taxii2/", "/shared/", amber("objects/"), "/nowhere"])
def test_an_unknown_reader_gets_nothing(server: HttpServer, given: str | None, path: str) -> None:
    headers = {"Authorization": given} if given is not None else {}
    answer = get(server, path, None, **headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic")
    assert answer.headers["content-type"] == TAXII_21
    assert "TLP" not in answer.text


def test_pages_follow_each_other_until_there_is_no_more(server: HttpServer) -> None:
    pages = list(as_pages(collection(server).get_objects, per_request=3))
    found = [entry["id"] for page in pages for entry in page.get("objects", [])]
    assert len(found) == len(set(found))
    assert len([uid for uid in found if uid.startswith("indicator--")]) == 5
    assert [page["more"] for page in pages] == [True] * (len(pages) - 1) + [False]
    assert all(len(page["objects"]) <= 3 for page in pages)
    pages = list(as_pages(collection(server).get_objects, per_request=100))
    whole = [entry["id"] for page in pages for entry in page["objects"]]
    assert whole == found, "the server's own limit is smaller, and the order the same"


def test_what_was_added_since_is_asked_for_by_the_last_time_that_was_seen() -> None:
    shelf = filled()
    with served(shelf) as server:
        seen = []
        query = "?limit=1000"
        while True:
            answer = get(server, amber("objects/") + query)
            seen += answer.json()["objects"]
            last = answer.headers["x-taxii-date-added-last"]
            if not answer.json()["more"]:
                break
            query = f"?next={answer.json()['next']}"
        assert get(server, amber(f"objects/?added_after={last}")).json() == {}
        add(shelf, 99, at=START)  # the broker took it earlier: of another partition, say
        new = collection(server).get_objects(added_after=last)
    assert len(indicators(new)) == 1
    assert indicators(new)[0] not in indicators({"objects": seen})


def test_filters_keep_what_they_name(server: HttpServer) -> None:
    one = collection(server)
    kinds = {item["type"] for item in one.get_objects(type="indicator,identity")["objects"]}
    assert kinds == {"indicator", "identity"}
    uid = indicators(one.get_objects(type="indicator"))[0]
    (only,) = one.get_objects(id=uid, version="last")["objects"]
    assert only["id"] == uid
    assert one.get_objects(spec_version="2.0") == {}
    assert one.get_objects(type="malware") == {}


def test_the_versions_of_an_object_can_be_distinguished(server: HttpServer) -> None:
    one = collection(server)
    first, last = map(format_time, (examples.TIME, examples.TIME + DAY))
    uid = json.loads(indicator_bundle([shared(0)], tlp=Tlp.AMBER))["objects"][2]["id"]
    path = amber(f"objects/{uid}/")
    assert get(server, f"{path}versions/").json()["versions"] == [first, last]
    assert one.object_versions(uid)["versions"] == [first, last]

    def versions(asked: str) -> list[str]:
        return [
            entry["modified"] for entry in one.get_object(uid, version=asked).get("objects", [])
        ]

    assert versions("last") == [last]
    assert versions("first") == [first]
    assert versions("all") == versions(f"{first},{last}") == [first, last]
    assert versions(first.replace("Z", "+00:00")) == versions(first.replace("0Z", "Z")) == [first]
    assert versions("2020-01-01T00:00:00Z") == []
    assert [entry["modified"] for entry in one.get_object(uid)["objects"]] == [last]


def test_a_manifest_lists_what_the_objects_are(server: HttpServer) -> None:
    entries = [e for page in as_pages(collection(server).get_manifest) for e in page["objects"]]
    objects = [o for page in as_pages(collection(server).get_objects) for o in page["objects"]]
    assert [(e["id"], e["version"]) for e in entries] == [
        (o["id"], o.get("modified", o["created"])) for o in objects
    ]
    added = [e["date_added"] for e in entries]
    assert added == sorted(set(added)), "each was added at a time of its own"


def test_what_is_served_is_valid_stix(server: HttpServer) -> None:
    objects = [o for page in as_pages(collection(server).get_objects) for o in page["objects"]]
    uid = "bundle--" + objects[0]["id"].partition("--")[2]
    bundle = {"type": "bundle", "id": uid, "objects": objects}
    options = ValidationOptions(version="2.1", strict=True, disabled="103,302", enforce_refs=True)
    report = validate_string(json.dumps(bundle), options)
    assert report.is_valid, [str(error) for error in report.errors]


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/taxii+json;version=2.1", 200),
        ("application/taxii+json; version=2.1", 200),
        ("application/taxii+json", 200),
        ("text/html, */*;q=0.1", 200),
        ("application/taxii+json;version=2.0", 406),
        ("application/vnd.oasis.taxii+json; version=2.0", 406),
        ("text/html", 406),
    ],
)
def test_another_version_or_type_is_not_acceptable(
    server: HttpServer, accept: str, status: int
) -> None:
    answer = get(server, "/taxii2/", Accept=accept)
    assert answer.status_code == status
    assert answer.headers["content-type"] == TAXII_21


@pytest.mark.parametrize(
    "query",
    [
        "added_after=yesterday",
        "added_after=2026-01-01T00:00:00",
        "limit=0",
        "limit=-1",
        "limit=x",
        "next=%00",
        "next=" + "z" * 100,
        "match[version]=newest",
        "limit=1&limit=2",
        "match[id]=" + ",".join(map(str, range(MAX_MATCHES + 1))),
    ],
)
def test_a_filter_that_is_not_understood_is_refused(server: HttpServer, query: str) -> None:
    answer = get(server, amber(f"objects/?{query}"))
    assert answer.status_code == 400
    assert answer.json()["http_status"] == "400"


def test_what_is_not_there_is_said_in_the_words_of_the_standard(server: HttpServer) -> None:
    uid = "indicator--00000000-0000-4000-8000-000000000000"
    unknown = (amber(f"objects/{uid}/"), amber(f"objects/{uid}/versions/"))
    for path in (*unknown, "/shared/status/1/", "/x"):
        answer = get(server, path)
        assert (answer.status_code, answer.json()["http_status"]) == (404, "404")
        assert answer.headers["content-type"] == TAXII_21


def test_nobody_writes(server: HttpServer) -> None:
    with pytest.raises(TAXIIServiceException):
        collection(server).add_objects({"objects": []})
    headers = {"Authorization": f"Bearer {SECRETS['alice']}"}
    for method in ("POST", "DELETE"):
        url = server.url + amber("objects/")
        answer = requests.request(method, url, headers=headers, timeout=30)
        assert answer.status_code == 403


def test_before_all_is_read_nothing_is_answered_in_part() -> None:
    with served(filled(), ready=False) as running:
        answer = get(running, amber("objects/"))
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0


def test_a_shelf_that_is_full_drops_the_oldest_and_counts_them() -> None:
    small = Shelf(most=20)
    for number in range(30):
        add(small, number)
    assert small.dropped > 0
    kept = list(small.after(Collection(Tlp.AMBER), -1))
    assert len(kept) <= 20
    assert kept == sorted(kept, key=lambda one: one.added)
    for entry in kept:
        assert entry in small.versions(Collection(Tlp.AMBER), entry.id)


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"null", b'{"objects": {}}', b"[" * 100_000, b'{"objects": ["\xff"]}'],
)
def test_what_is_no_bundle_is_counted_and_passed_over(raw: bytes) -> None:
    shelf = Shelf()
    shelf.add_bundle(raw, START)
    assert shelf.unreadable == 1
    shelf.add_bundle(None, START)
    assert shelf.unreadable == 1


@pytest.mark.parametrize(
    "item",
    [
        None,
        [],
        {"type": "indicator", "id": "x"},
        {"type": "indicator", "id": "indicator--" + "0" * 36},
        {"type": "indicator", "id": "indicator--" + "0" * 36, "object_marking_refs": "all"},
        {"type": 1, "id": 2},
    ],
)
def test_what_has_no_marking_is_shown_to_nobody(item: object) -> None:
    shelf = Shelf()
    shelf.add_bundle(json.dumps({"objects": [item]}).encode(), START)
    assert shelf.unreadable == 1
    assert not any(list(shelf.after(Collection(tlp), -1)) for tlp in Tlp)


def test_of_two_markings_the_stricter_counts() -> None:
    bundles = [json.loads(indicator_bundle([shared(1)], tlp=tlp)) for tlp in (Tlp.GREEN, Tlp.RED)]
    (green, red) = (bundle["objects"][0]["id"] for bundle in bundles)
    item = {**bundles[0]["objects"][2], "object_marking_refs": [red, green]}
    shelf = Shelf()
    shelf.add_bundle(json.dumps({"objects": [item]}).encode(), START)
    assert [entry.id for entry in shelf.after(Collection(Tlp.RED), -1)] == [item["id"]]


def test_times_are_those_of_the_broker() -> None:
    shelf = Shelf()
    add(shelf, 1)
    first = next(shelf.after(Collection(Tlp.AMBER), -1))
    assert datetime.fromtimestamp(first.added / 1_000_000, UTC) == datetime.fromtimestamp(
        START / 1000, UTC
    )
