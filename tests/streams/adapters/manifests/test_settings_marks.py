"""YAML text is searched for settings only if it has one of their marks."""

from __future__ import annotations

import pytest

from streams.adapters.manifests.kinds import ManifestContent, kinds_of
from tests.each import each

SETTINGS = (
    "trust_remote_code", "trust-remote-code", "hf_trust_remote_code", "model_name_or_path",
    "base_model", "weights_only", "allow_pickle", "pretrained_model_name_or_path", "dataset_name",
    "verify_ssl", "insecure_skip_tls_verify",
)  # fmt: skip


@each("setting", SETTINGS)
@each("text", ["{0}: x\n", "a: 1\nb:\n  - '{0}' : x\n", "a: é\n{0}: x\n"])
def test_each_setting_makes_a_pipeline_of_a_yaml_text(setting: str, text: str) -> None:
    for spelling in (setting, setting.upper(), setting.title()):
        kinds = kinds_of("conf/run.yaml", ManifestContent(text.format(spelling).encode()))
        assert [kind.name for kind in kinds] == ["pipeline-config"], spelling


@pytest.mark.parametrize(
    "command", ["pip install x", "pip3  install x", "vllm serve", "--trust-remote-code"]
)
def test_each_command_makes_a_pipeline_of_a_yaml_text(command: str) -> None:
    kinds = kinds_of("conf/run.yaml", ManifestContent(f"do: {command}\n".encode()))
    assert [kind.name for kind in kinds] == ["pipeline-config"]


def test_a_letter_beyond_ascii_that_counts_as_another_is_seen() -> None:
    kinds = kinds_of("run.yaml", ManifestContent("tru\u017ft_remote_code: true\n".encode()))
    assert [kind.name for kind in kinds] == ["pipeline-config"]


def test_a_yaml_text_without_either_is_none() -> None:
    assert kinds_of("run.yaml", ManifestContent(b"size: 3\nname: x\n")) == []
