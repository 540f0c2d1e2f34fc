"""The artifacts of an MLflow version, through a small server that speaks its REST API."""

from __future__ import annotations

import base64
import json

import pytest

from agents.fetching.errors import FetchError, RefusedError

BODY = b"weights" * 50
ASKED = "/api/2.0/mlflow/model-versions/get-download-uri?name=team%2Fchurn&version=3"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"


def answer(server, path, document):
    server.answer(path, 200, {}, json.dumps(document).encode())


def registry(server, uri="mlflow-artifacts:/0/r1/artifacts/model"):
    answer(server, ASKED, {"artifact_uri": uri})
    base = "0/r1/artifacts/model"
    listed = [{"path": "MLmodel", "file_size": 9}, {"path": "data", "is_dir": True}]
    answer(server, f"{ARTIFACTS}?path=0%2Fr1%2Fartifacts%2Fmodel", {"files": listed})
    inner = [{"path": "a b.bin", "is_dir": False, "file_size": len(BODY)}]
    answer(server, f"{ARTIFACTS}?path=0%2Fr1%2Fartifacts%2Fmodel%2Fdata", {"files": inner})
    server.serve(f"{ARTIFACTS}/{base}/data/a%20b.bin", BODY)
    return f"mlflow://{server.host}/team/churn@3"


@pytest.mark.parametrize("uri", ["mlflow-artifacts:/0/r1/artifacts/model", "models:/m-1"])
def test_a_version_is_listed_and_read_through_the_tracking_server(server, fetcher, uri):
    version = registry(server, uri)
    logged = {"model": {"info": {"artifact_uri": "mlflow-artifacts:/0/r1/artifacts/model"}}}
    answer(server, "/api/2.0/mlflow/logged-models/m-1", logged)
    one = fetcher(f"mlflow://{server.host}/team/churn")
    files = one.listing(version)
    assert [(file.path, file.size) for file in files] == [("MLmodel", 9), ("data/a b.bin", 350)]
    with one.open(files[1].uri) as source:
        assert source.read(0, source.size) == BODY


def test_the_tenants_password_goes_to_its_registry_alone(server, fetcher):
    version = registry(server)
    credentials = {"hosts": (server.host,), "username": "u", "password": "p"}
    fetcher(f"mlflow://{server.host}/", credentials=credentials).listing(version)
    expected = f"Basic {base64.b64encode(b'u:p').decode()}"
    assert {headers.get("authorization") for _, headers in server.asked} == {expected}
    server.asked.clear()
    other = {**credentials, "hosts": ("other.example",)}
    fetcher(f"mlflow://{server.host}/", credentials=other).listing(version)
    assert {headers.get("authorization") for _, headers in server.asked} == {None}


def test_another_registry_or_model_is_outside(server, fetcher):
    version = registry(server)
    for root in ("mlflow://other.example/", f"mlflow://{server.host}/team/churn-2", "https://x/"):
        with pytest.raises(RefusedError, match="outside"):
            fetcher(root).listing(version)
    assert server.asked == []


def test_artifacts_elsewhere_are_what_the_tenant_may_reach_there(server, fetcher, tmp_path):
    (tmp_path / "m.bin").write_bytes(BODY)
    version = registry(server, tmp_path.as_uri())
    with pytest.raises(RefusedError, match="outside"):
        fetcher(f"mlflow://{server.host}/").listing(version)
    (file,) = fetcher(f"mlflow://{server.host}/", tmp_path.as_uri()).listing(version)
    assert file.path == "m.bin"


@pytest.mark.parametrize(
    ("uri", "what"),
    [
        ("mlflow-artifacts:/", "artifacts are at"),
        ("mlflow-artifacts:/0/../../x", "artifacts are at"),
        ("mlflow://127.0.0.1/x@1", "outside|registry names"),
        ("", "scheme"),
        ("http://[bad/", "can't be read"),
    ],
)
def test_a_registry_leads_nowhere_else(server, fetcher, uri, what):
    version = registry(server, uri)
    with pytest.raises(FetchError, match=what):
        fetcher(f"mlflow://{server.host}/").listing(version)


@pytest.mark.parametrize("name", ["churn", "churn@x", "churn@-1", "@3"])
def test_location_without_a_version_is_refused(server, fetcher, name):
    with pytest.raises(RefusedError):
        fetcher(f"mlflow://{server.host}/").listing(f"mlflow://{server.host}/{name}")


@pytest.mark.parametrize("entry", [{"path": ".."}, {"path": "/"}, {"path": ""}])
def test_listing_with_parent_paths_is_refused(server, fetcher, entry):
    version = registry(server)
    answer(server, f"{ARTIFACTS}?path=0%2Fr1%2Fartifacts%2Fmodel", {"files": [entry]})
    with pytest.raises(FetchError, match="names no file"):
        fetcher(f"mlflow://{server.host}/").listing(version)


@pytest.mark.slow
def test_endless_folder_listing_is_bounded(server, fetcher):
    version = registry(server)
    deep = {"files": [{"path": "d", "is_dir": True}]}
    server.answer(ARTIFACTS, 200, {}, json.dumps(deep).encode())
    server.routes.pop(f"{ARTIFACTS}?path=0%2Fr1%2Fartifacts%2Fmodel")
    with pytest.raises(FetchError, match="deeper"):
        fetcher(f"mlflow://{server.host}/").listing(version)
