"""Files of honest installed packages raise no alarm, however model-like."""

from __future__ import annotations

import re
import sysconfig
from collections import Counter
from pathlib import Path

import pytest

from agents.checks.artifacts.files import scan_descriptor
from schemas.severity import Verdict

MODEL_LIKE = re.compile(
    r"\.(pkl|pickle|pt|pth|bin|npy|npz|json|yaml|yml|txt|h5|hdf5|onnx|pb|pbtxt|tflite|gguf"
    r"|safetensors|keras|xml|gz|bz2|xz|zip|tar|whl|joblib|msgpack|model|csv|dat|data|jinja|jinja2"
    r"|ipynb|cfg|ini|md|rst|toml|pem|npt|p|z)$",
    re.IGNORECASE,
)
LARGEST = 20_000_000


def model_like_files():
    """Yield files of the installed packages whose names a loader of models might be given."""
    for path in sorted(Path(sysconfig.get_path("purelib")).rglob("*")):
        if MODEL_LIKE.search(path.name) and path.is_file() and path.stat().st_size <= LARGEST:
            yield path


@pytest.mark.slow
def test_files_of_installed_packages_are_not_taken_for_hostile():
    verdicts = Counter()
    malicious, suspicious = [], []
    for path in model_like_files():
        with path.open("rb") as file:
            report = scan_descriptor(file.fileno(), path.name)
        verdicts[report.verdict] += 1
        if report.verdict is Verdict.MALICIOUS:
            malicious.append((str(path), report.detections[:1]))
        elif report.verdict is Verdict.SUSPICIOUS:
            suspicious.append((str(path), report.detections[:1]))
    total = sum(verdicts.values())
    assert total >= 300
    assert malicious == []
    assert len(suspicious) <= total * 0.005, suspicious
