"""The broker gets a Java that can run it, or the reader an explanation."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.broker.errors import NoJavaError
from streams.broker.java import OLDEST_JAVA, find_java


def java_that_says(folder: Path, text: str) -> Path:
    """A program that prints a version as Java does."""
    program = folder / "java"
    program.write_text(f"#!/bin/sh\ncat >&2 <<'EOF'\n{text}\nEOF\n")
    program.chmod(0o755)
    return program


def test_the_java_at_hand_is_new_enough() -> None:
    java = find_java()
    assert java.major >= OLDEST_JAVA
    assert java.program.is_file()


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ('openjdk version "11.0.2" 2019-01-15', "11.0.2"),
        ('java version "1.8.0_292"', "8.0_292"),
    ],
)
def test_an_old_java_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, version: str
) -> None:
    monkeypatch.setenv("TIDEWATCH_JAVA", str(java_that_says(tmp_path, said)))
    with pytest.raises(NoJavaError, match=rf"is Java {version}.*tidewatch\[embedded\]"):
        find_java()


@pytest.mark.parametrize("said", ['openjdk version "17.0.15"', 'openjdk version "26-ea" 2026'])
def test_a_new_enough_java_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    program = java_that_says(tmp_path, said)
    monkeypatch.setenv("TIDEWATCH_JAVA", str(program))
    assert find_java().program == program


def test_a_java_that_does_not_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEWATCH_JAVA", str(tmp_path / "absent"))
    with pytest.raises(NoJavaError, match="does not run"):
        find_java()
