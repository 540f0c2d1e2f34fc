"""Facts on a digest do not reach holders of the version with another digest."""

from __future__ import annotations

import random

import pytest

from schemas.severity import ExposureLevel
from tests.agents.triage.flow import Flow
from tests.agents.triage.stories import BAD, GOOD, MODEL, finding, held, sighting

COMMIT = "c" * 40


def reached(flow):
    return {system.system for view in flow.alerts_of("a") for system in view.systems}


def deployed(system, minutes, digest, version):
    """Return a deployment that serves a version, with or without its digest, and is built of it."""
    made_from = [f"{MODEL}@{version}"]
    if digest is not None:
        made_from += [f"{MODEL}@sha256:{digest}", f"sha256:{digest}"]
    key = f"deployment:@a/{system}"
    return (
        *held(MODEL, "a", system, minutes, version=version, digest=digest, kind="used"),
        sighting(
            key,
            "a",
            f"{system}-serving",
            minutes,
            kind="served",
            exposure=ExposureLevel.SERVING,
            made_from=tuple(made_from),
        ),
    )


def story(version, **evidence):
    return [
        *held(MODEL, "a", "registry", 0, version=version, digest=BAD, kind="pushed"),
        *deployed("same", 1, BAD, version),
        *deployed("other", 2, GOOD, version),
        *deployed("silent", 3, None, version),
        finding(
            "malicious_payload",
            "a",
            version=version,
            minutes=4,
            evidence={"file": "model.bin", **evidence},
        ),
    ]


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_holders_of_another_digest_of_a_version_are_left_alone(seed):
    inputs = story("v1.2", sole_file=True)
    if seed is not None:
        random.Random(seed).shuffle(inputs)
    flow = Flow()
    flow.put(*inputs)
    flow.run()
    assert reached(flow) == {"registry", "same", "same-serving", "silent", "silent-serving"}


def test_a_commit_is_of_one_content_whatever_digest_is_claimed():
    flow = Flow()
    flow.put(*story(COMMIT, sole_file=True))
    flow.run()
    assert {"other", "other-serving"} <= reached(flow)


def test_of_several_files_another_digest_may_be_that_of_the_whole():
    flow = Flow()
    flow.put(*story("v1.2"))
    flow.run()
    assert {"other", "other-serving"} <= reached(flow)
