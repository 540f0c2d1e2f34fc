"""The request shapes of S3, the model hub and OCI, against small servers that speak them."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest

from agents.fetching.errors import FetchError, RefusedError

NEXT = "<NextContinuationToken>n/1</NextContinuationToken>"
REV = "9d1c3f0be0c1c2b0a9f1f8f9b0a7d6c5e4f3a2b1"
BODY = b"model bytes" * 100
SHA = hashlib.sha256(BODY).hexdigest()


def s3_signature_is_right(path, query, headers, secret):
    """Compute the signature as the store does, from what arrived."""
    fields = dict(
        part.strip().split("=", 1) for part in headers["authorization"].split(" ", 1)[1].split(",")
    )
    names = fields["SignedHeaders"].split(";")
    canonical = "\n".join(
        ["GET", path, query, *(f"{n}:{headers[n]}" for n in names), "", ";".join(names),
         headers["x-amz-content-sha256"]]
    )  # fmt: skip
    _, date, region, service, end = fields["Credential"].split("/")
    text = "\n".join(
        ["AWS4-HMAC-SHA256", headers["x-amz-date"], f"{date}/{region}/{service}/{end}",
         hashlib.sha256(canonical.encode()).hexdigest()]
    )  # fmt: skip
    key = ("AWS4" + secret).encode()
    for part in (date, region, service, end):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest() == fields["Signature"]


def test_s3_objects_are_signed_ranged_and_listed(server, fetcher):
    server.serve("/acme/models/a%20b.bin", BODY)
    listing = (
        '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        "<IsTruncated>{more}</IsTruncated>{token}"
        "<Contents><Key>models/{key}</Key><Size>7</Size></Contents></ListBucketResult>"
    )
    server.answer(
        "/acme/?list-type=2&prefix=models%2F", 200, {},
        listing.format(more="true", token=NEXT, key="a b.bin").encode(),
    )  # fmt: skip
    server.answer(
        "/acme/?continuation-token=n%2F1&list-type=2&prefix=models%2F", 200, {},
        listing.format(more="false", token="", key="c.bin").encode(),
    )  # fmt: skip
    one = fetcher(
        "s3://acme/models",
        credentials={
            "access_key": "AK",
            "secret_key": "SK",
            "endpoint": f"http://{server.host}",
            "region": "eu-1",
        },
    )
    with one.open("s3://acme/models/a%20b.bin") as source:
        assert source.read(0, 5) == BODY[:5]
    path, headers = server.asked[0]
    assert s3_signature_is_right(path, "", headers, "SK")
    assert headers["range"].startswith("bytes=0-")
    listed = one.listing("s3://acme/models")
    assert [(file.path, file.uri, file.size) for file in listed] == [
        ("a b.bin", "s3://acme/models/a%20b.bin", 7),
        ("c.bin", "s3://acme/models/c.bin", 7),
    ]
    path, headers = server.asked[-1]
    assert s3_signature_is_right("/acme/", path.partition("?")[2], headers, "SK")
    with pytest.raises(RefusedError):
        one.open("s3://others/models/x")


def test_s3_listing_with_a_document_type_is_refused(server, fetcher):
    server.answer("/acme/", 200, {}, b'<!DOCTYPE x [<!ENTITY a "b">]><ListBucketResult/>')
    one = fetcher("s3://acme/models", credentials={"endpoint": f"http://{server.host}"})
    with pytest.raises(FetchError):
        one.listing("s3://acme/models")


@pytest.mark.parametrize("encoding", ["utf-7", "nonesuch", "idna"])
def test_s3_listing_in_a_strange_encoding_is_refused(server, fetcher, encoding):
    body = f'<?xml version="1.0" encoding="{encoding}"?><ListBucketResult/>'
    server.answer("/acme/", 200, {}, body.encode())
    one = fetcher("s3://acme/models", credentials={"endpoint": f"http://{server.host}"})
    with pytest.raises(FetchError):
        one.listing("s3://acme/models")


@pytest.mark.parametrize("size", ["9" * 5000, str(2**70), "-1", "\u0664"])
def test_size_that_no_object_can_have_is_unknown(server, fetcher, size):
    body = (
        f"<ListBucketResult><Contents><Key>models/a</Key><Size>{size}</Size></Contents>"
        "</ListBucketResult>"
    )
    server.answer("/acme/", 200, {}, body.encode())
    one = fetcher("s3://acme/models", credentials={"endpoint": f"http://{server.host}"})
    assert [(file.path, file.size) for file in one.listing("s3://acme/models")] == [("a", None)]


@pytest.mark.parametrize("size", [2**70, -1])
def test_size_that_no_file_of_the_hub_can_have_is_unknown(server, fetcher, size):
    info = {
        "sha": REV,
        "siblings": [{"rfilename": "a", "size": size}, {"rfilename": "b", "lfs": {"size": size}}],
    }
    server.answer(f"/api/models/acme/m/revision/{REV}", 200, {}, json.dumps(info).encode())
    listed = fetcher("hf://acme", hub=f"http://{server.host}").listing(f"hf://acme/m@{REV}")
    assert [file.size for file in listed] == [None, None]


def test_hub_revision_is_listed_with_digests_and_read(server, fetcher):
    info = {
        "sha": REV,
        "siblings": [
            {"rfilename": "config.json", "size": 12},
            {
                "rfilename": "sub/model.safetensors",
                "size": 130,
                "lfs": {"sha256": SHA, "size": len(BODY)},
            },
        ],
    }
    server.answer(f"/api/models/acme/m/revision/{REV}", 200, {}, json.dumps(info).encode())
    server.redirect(
        f"/acme/m/resolve/{REV}/sub/model.safetensors", f"/api/resolve-cache/models/acme/m/{REV}/x"
    )
    server.serve(f"/api/resolve-cache/models/acme/m/{REV}/x", BODY)
    one = fetcher(
        "hf://acme", hub=f"http://{server.host}", private=(server.host,),
        credentials={"token": "hub-token", "hosts": (server.host,)},
    )  # fmt: skip
    files = one.listing(f"hf://acme/m@{REV}")
    assert [(f.path, f.size, f.digests) for f in files] == [
        ("config.json", 12, {}),
        ("sub/model.safetensors", len(BODY), {"sha256": SHA}),
    ]
    with one.open(files[1].uri) as source:
        assert source.read(0, 20) == BODY[:20]
    assert server.asked[0][1]["authorization"] == "Bearer hub-token"
    with pytest.raises(RefusedError):
        one.listing(f"hf://other/m@{REV}")


def test_hub_listing_of_another_revision_is_refused(server, fetcher):
    server.answer(
        f"/api/models/acme/m/revision/{REV}", 200, {}, json.dumps({"sha": "0" * 40}).encode()
    )
    with pytest.raises(FetchError, match="another revision"):
        fetcher("hf://acme", hub=f"http://{server.host}").listing(f"hf://acme/m@{REV}")


def test_hub_redirect_to_a_strange_host_is_refused(server, fetcher):
    server.redirect(f"/acme/m/resolve/{REV}/a.bin", "https://evil.example/a.bin")
    with pytest.raises(RefusedError):
        fetcher("hf://acme", hub=f"http://{server.host}").open(f"hf://acme/m@{REV}/a.bin")


def oci(server, *, layers):
    manifest = json.dumps({"schemaVersion": 2, "layers": layers}).encode()
    digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"

    def guarded(answer):
        def route(request):
            if request.headers.get("Authorization") != "Bearer granted":
                challenge = f'Bearer realm="http://{server.host}/token",service="reg",scope="x"'
                return 401, {"WWW-Authenticate": challenge}, b""
            return answer(request)

        return route

    server.answer(f"/v2/team/m/manifests/{digest}", 200, {}, manifest)
    server.answer("/v2/team/m/tags/list", 200, {}, b"{}")
    server.serve(f"/v2/team/m/blobs/sha256:{SHA}", BODY)
    for path in list(server.routes):
        server.routes[path] = guarded(server.routes[path])
    server.answer("/token", 200, {}, b'{"token": "granted"}')
    return digest


def test_oci_manifest_is_listed_and_its_blobs_read_with_a_token(server, fetcher):
    digest = oci(
        server,
        layers=[
            {"digest": f"sha256:{SHA}", "size": len(BODY),
             "annotations": {"org.opencontainers.image.title": "model.safetensors"}},
            {"digest": "sha256:" + "1" * 64, "size": 5},
        ],
    )  # fmt: skip
    root = f"oci://{server.host}/team"
    (first, second) = fetcher(root).listing(f"{root}/m@{digest}")
    assert (first.path, first.digests, first.size) == (
        "model.safetensors",
        {"sha256": SHA},
        len(BODY),
    )
    assert second.path == "1" * 64
    with fetcher(root).open(first.uri) as source:
        assert source.read(0, 4) == BODY[:4]
    asked = [path for path, _ in server.asked]
    assert any(
        path.startswith("/token?service=reg&scope=repository%3Ateam%2Fm%3Apull") for path in asked
    )


def test_oci_manifest_that_is_not_its_digest_is_refused(server, fetcher):
    digest = "sha256:" + "2" * 64
    server.answer(f"/v2/team/m/manifests/{digest}", 200, {}, b'{"layers": []}')
    with pytest.raises(FetchError, match="digest"):
        fetcher(f"oci://{server.host}/team").listing(f"oci://{server.host}/team/m@{digest}")


def test_oci_token_service_elsewhere_is_refused(server, fetcher):
    digest = "sha256:" + "2" * 64
    server.answer(
        f"/v2/team/m/manifests/{digest}", 401,
        {"WWW-Authenticate": 'Bearer realm="https://evil.example/t"'},
    )  # fmt: skip
    with pytest.raises(RefusedError):
        fetcher(f"oci://{server.host}/team").listing(f"oci://{server.host}/team/m@{digest}")
