"""What AdmissionReviews name is found in each kind of object, and hostile bodies are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import UnreadableRecordError
from streams.admission.artifacts import MAX_ARTIFACTS, artifacts_of
from streams.admission.judging import Ruling, ScanResult
from streams.admission.review import MESSAGE, WARNING, answer, named_anew, read_review
from tests.each import each

REVIEWS = Path(__file__).parent / "reviews"
A, B = "a" * 64, "b" * 64
COMMIT = "9d1c3f0be0c1c2b0a9f1f8f9b0a7d6c5e4f3a2b1"


def recorded(name: str) -> bytes:
    """Return a request as an API server sends it."""
    return (REVIEWS / f"{name}.json").read_bytes()


def found(name: str) -> dict[str, str | None]:
    """Return what the object of a request names again: contents by field."""
    named = named_anew(read_review(recorded(name)))
    assert named.whole
    return {artifact.where: artifact.content for artifact in named.artifacts}


def test_a_pod_names_its_containers_and_image_volumes() -> None:
    assert found("pod") == {
        "spec.containers[0].image": f"oci:sha256:{A}",
        "spec.initContainers[0].image": f"oci:sha256:{A}",
        "spec.volumes[0].image.reference": f"oci:sha256:{B}",
    }


def test_a_template_within_templates_is_found() -> None:
    where = "spec.jobTemplate.spec.template.spec.containers[0].image"
    assert found("cronjob") == {where: f"oci:sha256:{A}"}


def test_an_inference_service_names_its_models_and_images() -> None:
    assert found("inferenceservice") == {
        "spec.predictor.model.storageUri": f"hf://acme-labs/sentiment-base@{COMMIT}",
        "spec.transformer.containers[0].image": f"oci:sha256:{A}",
        "spec.explainer.model.storage": None,
    }


def test_update_is_judged_by_its_additions() -> None:
    assert found("deployment-scaled") == {}
    assert found("pod-debugged") == {
        "metadata.annotations.internal.serving.kserve.io/storage-initializer-sourceuri": (
            f"oci:sha256:{B}"
        ),
        "spec.ephemeralContainers[0].image": None,
    }


def test_of_a_rollout_counts_the_new_image() -> None:
    document = json.loads(recorded("deployment-scaled"))
    (container,) = document["request"]["object"]["spec"]["template"]["spec"]["containers"]
    container["image"] = "registry.example/acme/serve:1.3"
    (named,) = named_anew(read_review(json.dumps(document).encode())).artifacts
    assert named.where == "spec.template.spec.containers[0].image"
    assert (named.reference, named.content) == (container["image"], None)


def test_a_debugging_container_is_asked_for_by_its_subresource() -> None:
    asked = read_review(recorded("pod-debugged"))
    assert (asked.operation, asked.sub_resource) == ("UPDATE", "ephemeralcontainers")


def changed(name: str, **fields: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(recorded(name))
    document["request"].update(fields)
    return document


@pytest.mark.parametrize("operation", ["DELETE", "CONNECT"])
def test_delete_and_connect_name_no_image(operation: str) -> None:
    document = changed("pod", operation=operation, object=None)
    assert named_anew(read_review(json.dumps(document).encode())).artifacts == ()


@pytest.mark.parametrize("operation", ["create", "PATCH", ""])
def test_an_operation_that_is_not_known_is_not_taken_for_harmless(operation: str) -> None:
    document = changed("pod", operation=operation)
    with pytest.raises(UnreadableRecordError, match="operation"):
        named_anew(read_review(json.dumps(document).encode()))


def test_deleted_object_may_lose_its_finalizers() -> None:
    document = changed("pod-debugged")
    document["request"]["object"]["metadata"]["deletionTimestamp"] = "2026-11-20T08:15:30Z"
    assert named_anew(read_review(json.dumps(document).encode())).artifacts == ()
    # who makes it up for something new gains nothing
    document["request"].update(operation="CREATE", oldObject=None)
    assert named_anew(read_review(json.dumps(document).encode())).artifacts


@each(
    ("value", "reference", "content"),
    [
        ({"image": "a:1"}, "a:1", None),
        ({"image": f"a:1@sha256:{A}"}, f"a:1@sha256:{A}", f"oci:sha256:{A}"),
        ({"image": f"a@sha256:{A.upper()}"}, f"a@sha256:{A.upper()}", None),
        ({"image": f"a@sha256:{A}0"}, f"a@sha256:{A}0", None),
        ({"image": {"repository": "a", "tag": "1"}}, "an image in parts", None),
        ({"storageUri": "s3://models/a"}, "s3://models/a", None),
        ({"storageUri": "hf://acme/a:main"}, "hf://acme/a:main", None),
        ({"modelUri": f"hf://acme/a@{COMMIT}"}, f"hf://acme/a@{COMMIT}", f"hf://acme/a@{COMMIT}"),
        (
            {"sourceUri": f"oci+native://r.example/a@sha256:{A}"},
            f"oci+native://r.example/a@sha256:{A}",
            f"oci:sha256:{A}",
        ),
    ],
)
def test_only_immutable_references_are_looked_up(
    value: dict[str, Any], reference: str, content: str | None
) -> None:
    (one,) = artifacts_of({"spec": [value]}).artifacts
    assert (one.reference, one.content) == (reference, content)


def test_excess_references_are_reported() -> None:
    many = artifacts_of([{"image": f"i:{n}"} for n in range(MAX_ARTIFACTS + 5)])
    assert len(many.artifacts) == MAX_ARTIFACTS
    assert not many.whole


@each(
    "raw",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"kind": "AdmissionReview"}',
        json.dumps({**changed("pod"), "apiVersion": "admission.k8s.io/v1beta1"}).encode(),
        json.dumps(changed("pod", uid="")).encode(),
        json.dumps(changed("pod", object=[1])).encode(),
        b'{"request": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        recorded("pod")[:-20],
    ],
)
def test_malformed_review_is_refused(raw: bytes) -> None:
    with pytest.raises(UnreadableRecordError):
        read_review(raw)


def test_a_review_of_another_version_is_refused_naming_the_supported_one() -> None:
    old = {**changed("pod"), "apiVersion": "admission.k8s.io/v1beta1"}
    with pytest.raises(UnreadableRecordError) as caught:
        read_review(json.dumps(old).encode())
    assert "v1beta1" in caught.value.error
    assert "admissionReviewVersions: [v1]" in caught.value.error
    for hostile in ("\x1b[2J", "x" * 10_000):
        with pytest.raises(UnreadableRecordError) as caught:
            read_review(json.dumps({**old, "apiVersion": hostile}).encode())
        assert hostile not in caught.value.error


def test_an_operation_with_an_object_needs_one() -> None:
    with pytest.raises(UnreadableRecordError, match="object"):
        named_anew(read_review(json.dumps(changed("pod", object=None)).encode()))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "image",
                    "reference",
                    "storageUri",
                    "storage",
                    "path",
                    "metadata",
                    "annotations",
                    "containers",
                    "model",
                    "uri",
                    "apiVersion",
                    "spec",
                ]
            )
            | st.text(max_size=8),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@settings(max_examples=50)
@given(st.dictionaries(st.text(max_size=8), _JSON, max_size=5), _JSON)
def test_any_object_is_read_and_answered(fields: dict[str, Any], value: Any) -> None:
    document = changed("pod", object={**fields, "spec": value})
    request = read_review(json.dumps(document).encode())
    named = named_anew(request)
    reasons = tuple(artifact.reference for artifact in named.artifacts)
    for ruling in (
        Ruling(admitted=not reasons, outcome=ScanResult.UNKNOWN, reasons=reasons),
        Ruling(admitted=True, outcome=ScanResult.UNKNOWN, reasons=reasons),
    ):
        response = json.loads(answer(request, ruling))["response"]
        assert response["uid"] == request.uid
        assert response["allowed"] is ruling.admitted
        assert all(len(text) <= WARNING for text in response.get("warnings", ()))
        assert len(response.get("status", {}).get("message", "")) <= MESSAGE


@given(st.binary(max_size=300))
def test_any_bytes_are_a_review_or_refused(raw: bytes) -> None:
    with pytest.raises(UnreadableRecordError):
        read_review(raw)


@given(st.integers(0, 3000), st.binary(max_size=4))
def test_a_review_with_a_broken_place_is_read_or_refused(place: int, patch: bytes) -> None:
    raw = recorded("inferenceservice")
    place %= len(raw)
    try:
        named_anew(read_review(raw[:place] + patch + raw[place + len(patch) :]))
    except UnreadableRecordError as error:
        assert error.reason  # noqa: PT017 -- either is right; a traceback is not
