"""A tenant's fetch scope: its own roots, and no other tenant's."""

from __future__ import annotations

import os
import sys

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.fetching.errors import FetchError, RefusedError
from agents.fetching.fetch_scope import Credentials, FetchRules, parse_location, tenant_reach
from schemas.policy import Policy
from tests.each import each


def reach(*roots, **rules):
    return tenant_reach(Policy(tenant="tenant-a", roots=roots), FetchRules(**rules), {})


@each(
    ("root", "uri", "allowed"),
    [
        ("s3://acme/models", "s3://acme/models/a.bin", True),
        ("s3://acme/models", "s3://acme/models-of-others/a.bin", False),
        ("s3://acme/models", "s3://acme/models/../../x", False),
        ("s3://acme", "s3://acme-other/a", False),
        ("s3://acme/models", "s3://acme/models/%2e%2e/x", False),
        ("https://h.example/a", "https://h.example/a/b", True),
        ("https://h.example/a", "https://H.EXAMPLE/a/b", True),
        ("https://h.example/a", "https://h.example/ab", False),
        ("https://h.example/a", "https://h.example:8443/a/b", False),
        ("https://h.example/a", "https://h.example@evil.example/a/b", False),
        ("https://h.example/a", "https://evil.example\\@h.example/a/b", False),
        ("https://h.example/a", "http://h.example/a/b", False),
        ("https://h.example/a", "file::https://h.example/a/b", False),
        ("http://h.example/a", "http://h.example/a/b", False),
        ("hf://acme", "hf://acme/m@main/config.json", True),
        ("hf://acme/m", "hf://acme/m@main/config.json", True),
        ("hf://acme/m", "hf://acme/m2@main/config.json", False),
        ("hf://acme", "hf://acme-evil/m@main/x", False),
        ("oci://r.example/team/m", "oci://r.example/team/m@sha256:00", True),
        ("file:///models/a", "file:///models/a@b/x", False),
        ("s3://acme/models", "s3://acme/models@others/x", False),
        ("https://h.example/a", "https://h.example/a@b/c", False),
        ("https://h.example/a", "https://h.example/a/..;/b", False),
        ("https://h.example/a", "https://h.example/a/..%3bx/b", False),
        ("https://h.example/a", "https://h.example/a/.;/b", False),
        ("https://h.example/a", "https://h.example/a/b;v=1", True),
        ("file:///models/a", "file:///models/a/x", True),
        ("file:///models/a", "file:///models/b/x", False),
        ("file:///models/a", "file://other/models/a/x", False),
        ("file:///models/a", "file:///models/a/\x00x", False),
    ],
)
def test_only_locations_under_a_root_are_allowed(root, uri, allowed):
    if allowed:
        reach(root).admit(uri)
    else:
        with pytest.raises(RefusedError):
            reach(root).admit(uri)


def test_without_roots_nothing_is_allowed():
    with pytest.raises(RefusedError):
        reach().admit("https://h.example/a")


@given(
    st.text(max_size=60), st.sampled_from(["file:///models/a/", "s3://acme/models/", "hf://acme/"])
)
def test_no_spelling_climbs_out_of_a_root(tail, root):
    one = reach(root)
    try:
        found = one.admit(root + tail)
    except RefusedError:
        return
    base = parse_location(root).path.rstrip("/")
    revision = (base + "@",) if root.startswith("hf:") else ()
    assert found.path == base or found.path.startswith((base + "/", *revision))
    assert ".." not in found.path.split("/")


def test_credentials_of_another_tenant_are_not_used():
    secrets = {"ref": Credentials(tenants=("tenant-a",), token="t", hosts=("h.example",))}
    theirs = tenant_reach(Policy(tenant="tenant-b", credentials="ref"), FetchRules(), secrets)
    assert theirs.credentials is None
    own = tenant_reach(Policy(tenant="tenant-a", credentials="ref"), FetchRules(), secrets)
    assert own.secrets_for("h.example") is not None
    assert own.secrets_for("other.example") is None
    assert "'t'" not in repr(secrets["ref"])


def test_links_below_the_root_are_refused_wherever_they_stand(tmp_path, fetcher):
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "sub").mkdir(parents=True)
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (root / "sub" / "ok").write_bytes(b"fine")
    (root / "file-link").symlink_to(outside / "secret")
    (root / "folder-link").symlink_to(outside)
    os.mkfifo(root / "pipe")
    one = fetcher(root.as_uri())
    with one.open(f"{root.as_uri()}/sub/ok") as source:
        assert source.read(0, 10) == b"fine"
    for name in ("file-link", "folder-link/secret", "pipe", "sub"):
        with pytest.raises(RefusedError):
            one.open(f"{root.as_uri()}/{name}")
    with pytest.raises(FetchError):
        one.open(f"{root.as_uri()}/absent")
    assert [file.path for file in one.listing(root.as_uri())] == ["sub/ok"]


def test_root_that_is_itself_a_link_works(tmp_path, fetcher):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a b").write_bytes(b"1")
    (tmp_path / "root").symlink_to(tmp_path / "real")
    one = fetcher((tmp_path / "root").as_uri())
    (listed,) = one.listing((tmp_path / "root").as_uri())
    with one.open(listed.uri) as source:
        assert source.read(0, 1) == b"1"


def test_one_tenants_event_reaches_nothing_of_anothers(tmp_path, fetcher):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "m").write_bytes(name.encode())
    one = fetcher((tmp_path / "a").as_uri())
    with pytest.raises(RefusedError):
        one.open((tmp_path / "b" / "m").as_uri())
    (tmp_path / "a" / "x").symlink_to(tmp_path / "b" / "m")
    with pytest.raises(RefusedError):
        one.open((tmp_path / "a" / "x").as_uri())


def test_where_fsspec_is_not_installed_the_extra_is_named(fetcher, monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    one = fetcher("memory://bucket", fsspec_schemes=frozenset({"memory"}))
    with pytest.raises(FetchError, match=r"tidewatch\[stores\]"):
        one.open("memory://bucket/model.bin")


def test_store_of_an_fsspec_implementation_is_read_by_ranges(fetcher):
    filesystem = fsspec.filesystem("memory")
    filesystem.pipe_file("/bucket/m.bin", b"0123456789")
    one = fetcher("memory://bucket", fsspec_schemes=frozenset({"memory"}))
    with one.open("memory://bucket/m.bin") as source:
        assert source.read(3, 4) == b"3456"
    with pytest.raises(FetchError):
        one.open("memory://bucket/absent")
    with pytest.raises(RefusedError):
        fetcher("memory://bucket").open("memory://bucket/m.bin")


@pytest.mark.parametrize(
    "uri",
    [
        "hf://acme/churn@main/model.bin",
        "hf://datasets/acme/clicks",
        "https://models.example/a",
        "s3://bucket/a",
        "file:///models/a",
    ],
)
def test_a_message_names_a_location_as_it_was_written(uri):
    assert parse_location(uri).uri == uri
    assert parse_location(parse_location(uri).uri) == parse_location(uri)
