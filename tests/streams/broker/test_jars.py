"""Only jars that are as pinned reach a class path."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from streams.broker.errors import (
    BrokerError,
    JarsUnavailableError,
    NoMavenError,
    TamperedJarError,
)
from streams.broker.jars import pins_key, provide_jars, read_pins, verify_jars
from streams.broker.paths import description_dir


@pytest.fixture
def pinned(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """Two small files that stand for jars, and their pins."""
    folder = tmp_path / "jars"
    folder.mkdir()
    pins = {}
    for name in ("a-1.jar", "b-2.jar"):
        (folder / name).write_bytes(name.encode())
        pins[name] = hashlib.sha256(name.encode()).hexdigest()
    return folder, pins


def description(tmp_path: Path, pins: dict[str, str]) -> Path:
    """A folder that describes other jars than Kafka's."""
    folder = tmp_path / "description"
    folder.mkdir()
    lines = [f"{digest}  {name}\n" for name, digest in pins.items()]
    (folder / "jars.sha256").write_text("".join(lines))
    shutil.copy(description_dir() / "pom.xml", folder)
    return folder


def fake_maven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a `mvn` that does `script` first on the path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "mvn").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "mvn").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_jars_as_pinned_are_accepted(pinned: tuple[Path, dict[str, str]]) -> None:
    verify_jars(*pinned)


def test_a_changed_jar_is_refused(pinned: tuple[Path, dict[str, str]]) -> None:
    folder, pins = pinned
    (folder / "b-2.jar").write_bytes(b"something else")
    with pytest.raises(TamperedJarError, match=r"b-2\.jar is not as pinned"):
        verify_jars(folder, pins)


def test_an_unknown_jar_is_refused(pinned: tuple[Path, dict[str, str]]) -> None:
    folder, pins = pinned
    (folder / "c-3.jar").write_bytes(b"")
    with pytest.raises(TamperedJarError, match=r"c-3\.jar is unknown"):
        verify_jars(folder, pins)


def test_a_missing_jar_is_refused(pinned: tuple[Path, dict[str, str]]) -> None:
    folder, pins = pinned
    (folder / "a-1.jar").unlink()
    with pytest.raises(TamperedJarError, match=r"a-1\.jar is missing"):
        verify_jars(folder, pins)


def test_a_link_in_place_of_a_jar_is_refused(
    pinned: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    """What a link points to can change after the check."""
    folder, pins = pinned
    elsewhere = (folder / "a-1.jar").rename(tmp_path / "elsewhere.jar")
    (folder / "a-1.jar").symlink_to(elsewhere)
    with pytest.raises(TamperedJarError, match=r"a-1\.jar is not as pinned"):
        verify_jars(folder, pins)


def test_a_jar_that_maven_brings_otherwise_than_pinned_is_refused_and_not_kept(
    tmp_path: Path, pinned: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, pins = pinned
    fake_maven(
        tmp_path,
        monkeypatch,
        "for a; do case $a in -DoutputDirectory=*) out=${a#*=};; esac; done\n"
        'echo evil > "$out/a-1.jar"; printf b-2.jar > "$out/b-2.jar"',
    )
    cache = tmp_path / "cache"
    with pytest.raises(TamperedJarError, match=r"a-1\.jar is not as pinned"):
        provide_jars(cache, description(tmp_path, pins))
    assert [path.name for path in cache.iterdir()] == ["lock"]


def test_without_maven_the_error_says_what_to_do(
    tmp_path: Path, pinned: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoMavenError, match=r"install Maven.*TIDEWATCH_KAFKA"):
        provide_jars(tmp_path / "cache", description(tmp_path, pinned[1]))


def test_offline_the_error_carries_mavens_own_words(
    tmp_path: Path, pinned: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_maven(tmp_path, monkeypatch, 'echo "[ERROR] Unknown host index.example"; exit 1')
    with pytest.raises(JarsUnavailableError, match=r"Unknown host index\.example.*network"):
        provide_jars(tmp_path / "cache", description(tmp_path, pinned[1]))


def test_jars_laid_out_by_hand_need_no_maven(
    tmp_path: Path, pinned: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, pins = pinned
    cache = tmp_path / "cache"
    cache.mkdir()
    folder.rename(cache / pins_key(pins))
    monkeypatch.setenv("PATH", str(tmp_path))
    jars = provide_jars(cache, description(tmp_path, pins))
    assert [jar.name for jar in jars] == ["a-1.jar", "b-2.jar"]


def test_a_line_that_is_no_pin_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "jars.sha256").write_text("d41d8  ../evil.jar\n")
    with pytest.raises(BrokerError, match="not a pin"):
        read_pins(tmp_path)


def test_every_jar_of_the_pom_is_pinned_by_name_and_version() -> None:
    folder = description_dir()
    pom = (folder / "pom.xml").read_text()
    names = {
        f"{part.split('<artifactId>')[1].split('<')[0]}-{part.split('<version>')[1].split('<')[0]}.jar"
        for part in pom.split("<dependency>")[1:]
    }
    assert names == set(read_pins(folder))
