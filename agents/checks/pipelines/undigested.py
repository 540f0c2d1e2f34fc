"""Finds images and downloads that a definition takes without a digest, and uploads without TLS."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from agents.checks.pipelines.configuration import Node
from agents.checks.pipelines.names import plain_name
from agents.checks.pipelines.remote_code import Setting, pinned
from agents.domain.hosts import is_local, read_address
from schemas.severity import Severity

UNPINNED_IMAGE: Final = "TW-PIPE-UNPINNED-IMAGE"
UNCHECKED_DOWNLOAD: Final = "TW-PIPE-UNCHECKED-DOWNLOAD"
PLAIN_UPLOAD: Final = "TW-PIPE-PLAIN-UPLOAD"

_IMAGE: Final = re.compile(
    r"(?P<name>(?:[\w.-]{1,100}(?::\d{1,5})?/)?(?:[\w.-]{1,100}/){0,6}[A-Za-z0-9_][\w.-]{0,100})"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?P<digest>@sha256:[0-9a-f]{64})?"
)
"""Source: the grammar of references of the distribution project."""
_OF_CONTAINERS: Final = re.compile(
    r"(?:^|\.)(?:services\.[^.]+|(?:\w*[cC]ontainers|steps|sidecars|sandboxes)\[\d+\]|container\w*"
    r"|script|default|runs)$"
)
"""Where `image` has no other meaning: Compose, Kubernetes, Tekton, Argo, GitHub, GitLab."""
_STAGE: Final = re.compile(r"(?:--\S+\s+)*(?P<image>\S+)(?:\s+[aA][sS]\s+(?P<stage>\S+))?\s*")
_ACTION_IMAGE: Final = "docker://"
_MOVING: Final = frozenset({None, "latest", "main", "master", "nightly", "edge", "dev"})
_GIT_COMMIT: Final = re.compile(r"\.git#(?P<ref>[0-9a-f]{40,64})\b")
_UPLOADS: Final = frozenset(
    {"repository_url", "twine_repository_url", "upload_url", "publish_url", "uv_publish_url"}
)


def undigested(node: Node) -> Iterator[Setting]:
    """Yield what one object of a configuration takes without a digest, or uploads without TLS.

    Args:
        node: The value. Instructions of a Dockerfile have keys such as `FROM in line 1`.
    """
    members = node.value
    if not isinstance(members, dict):
        return
    if not node.path:
        yield from _stages(members)
    for key, value in members.items():
        path = f"{node.path}.{key}" if node.path else key
        if isinstance(value, str):
            yield from _image(key, value.strip(), path, node.path, members)
            upload = plain_name(key) in _UPLOADS or (key == "repository" and "username" in members)
            if upload and _is_plain(value.strip()):
                yield Setting(rule_id=PLAIN_UPLOAD, path=path, shown=f"{key}: {value[:100]}")
        elif key.startswith("ADD in line ") and isinstance(value, dict):
            yield from _downloads(path, value.get("data"))


def _stages(members: dict[str, Any]) -> Iterator[Setting]:
    """Yield the moving images that the stages of a Dockerfile start from."""
    stages = {"scratch"}
    for key, value in members.items():
        if not (key.startswith("FROM in line ") and isinstance(value, str)):
            continue
        match = _STAGE.fullmatch(value)
        if match is None:
            continue
        if match["image"].lower() not in stages:
            yield from _moving(key, match["image"])
        if match["stage"]:
            stages.add(match["stage"].lower())


def _image(
    key: str, value: str, path: str, parent: str, members: dict[str, Any]
) -> Iterator[Setting]:
    if key == "uses" and value.startswith(_ACTION_IMAGE):
        yield from _moving(path, value.removeprefix(_ACTION_IMAGE))
    elif key == "image" and "build" not in members:
        if _OF_CONTAINERS.search(parent) or _is_tagged(value):
            yield from _moving(path, value)
    elif key == "container" and _is_tagged(value):
        yield from _moving(path, value)
    elif key == "repository" and parent.rpartition(".")[2].lower().endswith("image"):
        tag = members.get("tag")
        registry = members.get("registry")
        if isinstance(tag, str | int) and not members.get("digest"):
            prefix = f"{registry}/" if isinstance(registry, str) and registry else ""
            yield from _moving(path, f"{prefix}{value}:{tag}" if tag != "" else prefix + value)


def _is_tagged(value: str) -> bool:
    match = _IMAGE.fullmatch(value)
    return match is not None and match["tag"] is not None


def _moving(path: str, image: str) -> Iterator[Setting]:
    """Yield an image that is named by a tag; of variables nothing is known."""
    match = _IMAGE.fullmatch(image)
    if match is None or match["digest"]:
        return
    yield Setting(
        rule_id=UNPINNED_IMAGE,
        path=path,
        shown=image[:120],
        severity=Severity.LOW if match["tag"] in _MOVING else None,
    )


def _downloads(path: str, addresses: Any) -> Iterator[Setting]:  # noqa: ANN401 -- any JSON value
    for address in addresses if isinstance(addresses, list) else ():
        commit = _GIT_COMMIT.search(address) if isinstance(address, str) else None
        if isinstance(address, str) and not (commit and pinned(commit["ref"])):
            yield Setting(rule_id=UNCHECKED_DOWNLOAD, path=path, shown=address[:120])


def _is_plain(address: str) -> bool:
    read = read_address(address)
    return read.scheme == "http" and bool(read.host) and not is_local(read.host)
