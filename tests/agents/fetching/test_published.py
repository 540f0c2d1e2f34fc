"""A revision is published if the hub gives everybody its commit under a branch or tag."""

from __future__ import annotations

import json

import pytest

from agents.fetching import hub as hub_module
from agents.fetching.errors import FetchError
from tests.agents.fetching.hub_server import PER_PAGE, HubServer, commit_id

FILES = {"model.bin": b"weights", "config.json": b"{}"}


@pytest.fixture
def hub(server):
    return HubServer(server)


def reader(fetcher, hub, **more):
    return fetcher("hf://bigorg", hub=hub.hub, private=("127.0.0.1", hub.server.host), **more)


@pytest.mark.parametrize(
    ("group", "ref"), [("branches", "refs/heads/main"), ("tags", "refs/tags/v1.0")]
)
def test_tip_of_a_branch_or_tag_is_published(hub, fetcher, group, ref):
    commit = hub.commit("one", FILES)
    hub.point(group, ref, commit)
    assert reader(fetcher, hub).is_published(hub.uri(commit))


def test_commit_in_the_history_of_a_branch_is_published(hub, fetcher):
    hub.point("branches", "refs/heads/main", hub.commit("main", FILES))
    parents, names = None, []
    for number in range(3 * PER_PAGE):
        names.append(hub.commit(f"c{number}", FILES, parents))
        parents = [names[-1]]
    hub.point("branches", "refs/heads/dev", names[-1])
    one = reader(fetcher, hub)
    assert all(one.is_published(hub.uri(commit)) for commit in names)


def test_commit_of_a_pull_request_or_fork_is_not_published(hub, fetcher):
    main = hub.commit("main", FILES)
    hub.point("branches", "refs/heads/main", main)
    proposed = hub.commit("proposed", {"model.bin": b"evil"}, [main])
    hub.point("pullRequests", "refs/pr/1", proposed)
    one = reader(fetcher, hub)
    assert one.listing(hub.uri(proposed)), "the hub gives it under the name of the repository"
    assert not one.is_published(hub.uri(proposed))
    assert not one.is_published(hub.uri(commit_id("of a fork")))


@pytest.mark.parametrize("group", ["branches", "tags", "converts"])
@pytest.mark.parametrize("ref", ["refs/pr/1", "refs/convert/parquet"])
def test_a_reference_is_judged_by_where_it_lies_not_by_its_group(hub, fetcher, group, ref):
    commit = hub.commit("one", FILES)
    hub.point(group, ref, commit)
    assert not reader(fetcher, hub).is_published(hub.uri(commit))


def test_a_tag_that_moved_on_leaves_its_commit_behind(hub, fetcher):
    old, new = hub.commit("old", FILES), hub.commit("new", FILES)
    hub.point("tags", "refs/tags/v1", old)
    one = reader(fetcher, hub)
    assert one.is_published(hub.uri(old))
    hub.point("tags", "refs/tags/v1", new)
    assert not one.is_published(hub.uri(old))


@pytest.mark.parametrize("revision", ["main", "v1.0", "0" * 39])
def test_movable_name_is_not_published(hub, fetcher, revision):
    hub.point("branches", "refs/heads/main", hub.commit("one", FILES))
    assert not reader(fetcher, hub).is_published(hub.uri(revision))


def test_read_with_a_tenants_credentials_is_not_published(hub, fetcher):
    commit = hub.commit("one", FILES)
    hub.point("branches", "refs/heads/main", commit)
    secrets = {"token": "t", "hosts": (hub.server.host,)}
    one = reader(fetcher, hub, credentials=secrets)
    with one.open(f"{hub.uri(commit)}/model.bin") as source:
        assert source.read(0, 7) == b"weights"
    hub.server.asked.clear()
    assert not one.is_published(hub.uri(commit))
    assert not [path for path, headers in hub.server.asked if "authorization" in headers]


def test_owner_of_a_repository_is_asked_without_credentials(hub, fetcher):
    commit = hub.commit("one", FILES)
    hub.point("branches", "refs/heads/main", commit)
    one = reader(fetcher, hub, credentials={"token": "t", "hosts": (hub.server.host,)})
    assert one.is_published(hub.uri(commit))
    assert not [path for path, headers in hub.server.asked if "authorization" in headers]


@pytest.mark.parametrize("asked", ["refs", "commits"])
def test_a_repository_that_has_another_name_now_is_refused(hub, fetcher, asked):
    old, new = hub.commit("old", FILES), hub.commit("new", FILES)
    hub.point("branches", "refs/heads/main", new)
    end = "refs" if asked == "refs" else f"commits/{new}"
    hub.server.redirect(f"{hub.base}/{end}", f"/api/models/mallory/base/{end}")
    body = {"branches": [{"ref": "refs/heads/main", "targetCommit": old}]}
    hub.server.answer(
        f"/api/models/mallory/base/{end}",
        200,
        {},
        json.dumps(body if asked == "refs" else [{"id": old}]).encode(),
    )
    with pytest.raises(FetchError, match="another name"):
        reader(fetcher, hub).is_published(hub.uri(old))


@pytest.mark.parametrize(
    "target", ["https://mallory.example/c", "/api/models/mallory/base/commits/x?p=1"]
)
def test_a_next_page_elsewhere_is_not_followed(hub, fetcher, target):
    tip = hub.commit("tip", FILES)
    hub.point("branches", "refs/heads/main", tip)
    hub.server.answer(
        f"{hub.base}/commits/{tip}",
        200,
        {"Link": f'<{target}>; rel="next"'},
        json.dumps([{"id": tip}]).encode(),
    )
    hub.server.answer(
        "/api/models/mallory/base/commits/x", 200, {}, json.dumps([{"id": "a" * 40}]).encode()
    )
    assert not reader(fetcher, hub).is_published(hub.uri("a" * 40))


def test_endless_history_is_searched_up_to_a_limit(hub, fetcher, monkeypatch):
    monkeypatch.setattr(hub_module, "MAX_PAGES", 5)
    tip = hub.commit("tip", FILES)
    hub.point("branches", "refs/heads/main", tip)
    path = f"{hub.base}/commits/{tip}"
    pages = []

    def page(request):
        pages.append(request.path)
        link = {"Link": f'<{hub.hub}{path}?p={len(pages)}>; rel="next"'}
        return 200, link, json.dumps([{"id": f"{len(pages):040x}"}]).encode()

    hub.server.routes[path] = page
    assert not reader(fetcher, hub).is_published(hub.uri("a" * 40))
    assert len(pages) == 5


def test_a_page_that_says_nothing_new_is_the_last(hub, fetcher):
    tip = hub.commit("tip", FILES)
    hub.point("branches", "refs/heads/main", tip)
    path = f"{hub.base}/commits/{tip}"
    again = {"Link": f'<{hub.hub}{path}?p=1>; rel="next"'}
    hub.server.answer(path, 200, again, json.dumps([{"id": tip}]).encode())
    hub.server.answer(f"{path}?p=1", 200, again, json.dumps([{"id": tip}]).encode())
    assert not reader(fetcher, hub).is_published(hub.uri("a" * 40))
    assert len(hub.server.asked) == 3


@pytest.mark.parametrize(
    ("status", "body"), [(500, b""), (404, b""), (200, b"<html>"), (200, b'{"branches": 7}')]
)
def test_a_hub_that_does_not_say_is_an_error(hub, fetcher, status, body):
    hub.server.answer(f"{hub.base}/refs", status, {}, body)
    with pytest.raises(FetchError):
        reader(fetcher, hub).is_published(hub.uri("a" * 40))


def test_only_the_hub_publishes_revisions(server, fetcher):
    del server
    one = fetcher("oci://registry.example/m", "https://store.example/m")
    assert not one.is_published(f"oci://registry.example/m@sha256:{'a' * 64}")
    assert not one.is_published("https://store.example/m/x")
