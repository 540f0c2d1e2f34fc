"""Credentials in addresses are found and masked; references to them are not."""

from __future__ import annotations

import json

import pytest

from agents.checks.packages.check import check_packages
from agents.checks.packages.credentials import MASK, mask_credentials, url_credentials
from agents.domain.knowledge import MemoryKnowledge
from schemas.cloudevents import write_structured
from streams.adapters import adapt
from tests.each import each

TOKEN = "tR7kLq9vX2mZp4WdB8"
REPORT = json.dumps(
    {
        "pip_version": "26.3",
        "install": [
            {
                "metadata": {"name": "x", "version": "1"},
                "download_info": {"url": f"https://ci:{TOKEN}@a.example/x-1.whl"},
            }
        ],
    }
)
NOW = {"tenant": "t", "system": "h1", "received_ms": 1_795_000_000_000}


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"https://ci:{TOKEN}@a.example/simple", f"https://ci:{MASK}@a.example/simple"),
        (f"https://{TOKEN}@a.example", f"https://{MASK}@a.example"),
        (f"git+https://oauth2:{TOKEN}@a.example/x.git", f"git+https://oauth2:{MASK}@a.example/x.git"),
        (f"-i https://:{TOKEN}@a.example b", f"-i https://:{MASK}@a.example b"),
        (f"https://a:p@ss-{TOKEN}@a.example", f"https://a:{MASK}@a.example"),
        (f"x https://a:{TOKEN}@a.example y https://b:{TOKEN}@b.example",
         f"x https://a:{MASK}@a.example y https://b:{MASK}@b.example"),
        (f"https://ci:{MASK}@a.example", f"https://ci:{MASK}@a.example"),
    ],
)  # fmt: skip
def test_credentials_are_masked(text, masked):
    assert mask_credentials(text) == masked
    # A mask still says that there was one.
    assert list(url_credentials(masked))


@each(
    "text",
    [
        "https://a.example/simple",
        "git+ssh://git@a.example/x.git",
        "https://ci:${TOKEN}@a.example",
        "https://ci:$TOKEN@a.example",
        "https://%s:{{ secret }}@a.example",
        "https://__token__:<token>@a.example",
        "https://user:password@a.example",
        "numpy @ https://a.example/x@1.0/numpy.whl",
        "mail me@a.example",
    ],
)
def test_references_and_users_are_no_credentials(text):
    assert mask_credentials(text) == text
    assert not list(url_credentials(text))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("requirements", f"--extra-index-url https://ci:{TOKEN}@a.example/simple\nnumpy==1.0\n"),
        ("requirements", f"x @ git+https://ci:{TOKEN}@a.example/x.git@{'0' * 40}\n"),
        ("pip-report", REPORT),
        ("pyproject", f'[[tool.uv.index]]\nurl = "https://ci:{TOKEN}@a.example/simple"\n'),
    ],
)  # fmt: skip
def test_records_hold_no_credential_and_the_check_reports_it(kind, text):
    (event,) = adapt(kind, text.encode(), **NOW)
    assert TOKEN not in write_structured(event).decode()
    outcome = check_packages(event, MemoryKnowledge())
    (found,) = [
        detection for detection in outcome.detections if detection.rule_id == "TW-PKG-CREDENTIAL"
    ]
    assert "a.example" in found.description
