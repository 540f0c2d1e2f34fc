"""Contain models in an MLflow registry: tag versions, remove aliases, move the serving alias.

The registry's artifacts stay in place; serving follows an alias. The registry is accessed by its
REST API (mlflow 2.3 and later), so that MLflow need not be installed.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote, unquote, urlsplit

import orjson
import urllib3

from agents.response.action_context import ActionContext
from agents.response.config import MlflowConfig
from agents.response.inventory import CHUNK, MAX_FILES, digest_of, inventory
from agents.response.outcome import (
    ABSENT,
    BAD,
    FAILED,
    OK,
    REFUSED,
    UNAVAILABLE,
    UNSUPPORTED,
    CommandOutcome,
    NotCarriedOutError,
)
from agents.response.paths import component_of, local_name
from schemas.components import digest_of_files
from schemas.incidents.commands import CommandSpec

TAG: Final = "tidewatch.quarantine"
"""The tag of a quarantined version; its value is the command's id."""
TAKES_OVER: Final = "takes over"
"""The note of a quarantine that found a version tagged by an earlier one of its hold."""
MAX_ANSWER: Final = 16 * 1024 * 1024
MAX_BYTES: Final = 200 * 1024**3
"""Bytes of a version's artifacts that are read to verify it."""
_MAX_TOKEN: Final = 16 * 1024
_HTTP_OK, _HTTP_ABSENT, _HTTP_SERVER_ERROR = 200, 404, 500
_API: Final = "/api/2.0/mlflow/"
_ARTIFACTS: Final = "/api/2.0/mlflow-artifacts/artifacts"


def serves(spec: CommandSpec, config: MlflowConfig | None) -> bool:
    """Return whether a command's component is a model of the registry."""
    return config is not None and component_of(spec).startswith(f"model:{config.registry}/")


class ModelRegistry:
    """A connection to one registry."""

    def __init__(self, config: MlflowConfig) -> None:
        """Prepare; nothing is sent yet."""
        self._config = config
        self._pool = urllib3.PoolManager(
            timeout=config.timeout_seconds,
            retries=urllib3.Retry(total=3, backoff_factor=0.3, redirect=0, allowed_methods=None),
        )

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close its connections."""
        self._pool.clear()

    def aliases(self, name: str) -> dict[str, str]:
        """Return the versions of a model's aliases."""
        model = self._call("GET", "registered-models/get", {"name": name})["registered_model"]
        return {alias["alias"]: str(alias["version"]) for alias in model.get("aliases", [])}

    def version(self, name: str, version: str) -> dict[str, Any]:
        """Return a version."""
        answer = self._call("GET", "model-versions/get", {"name": name, "version": version})
        return dict(answer["model_version"])

    def tag_of(self, name: str, version: str) -> str | None:
        """Return the value of our tag on a version, None if it has none."""
        tags = {tag["key"]: tag.get("value") for tag in self.version(name, version).get("tags", [])}
        return tags.get(TAG)

    def set_tag(self, name: str, version: str, value: str) -> None:
        """Put our tag on a version."""
        body = {"name": name, "version": version, "key": TAG, "value": value}
        self._call("POST", "model-versions/set-tag", body)

    def drop_tag(self, name: str, version: str) -> None:
        """Take our tag from a version."""
        body = {"name": name, "version": version, "key": TAG}
        self._call("DELETE", "model-versions/delete-tag", body)

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Point an alias to a version."""
        body = {"name": name, "alias": alias, "version": version}
        self._call("POST", "registered-models/alias", body)

    def drop_alias(self, name: str, alias: str) -> None:
        """Remove an alias."""
        self._call("DELETE", "registered-models/alias", {"name": name, "alias": alias})

    def digest(self, name: str, version: str) -> str | None:
        """Return the digest of a version's artifacts, read anew; None if they can't be reached.

        Raises:
            NotCarriedOutError: The registry does not answer, or there is too much to read.
        """
        asked = {"name": name, "version": version}
        uri = str(self._call("GET", "model-versions/get-download-uri", asked)["artifact_uri"])
        parts = urlsplit(uri)
        if parts.scheme in {"", "file"}:
            artifacts = Path(os.path.realpath(unquote(parts.path)))
            roots = [Path(os.path.realpath(root)) for root in self._config.artifact_roots]
            if any(root in artifacts.parents for root in roots) and artifacts.exists():
                return digest_of(inventory(artifacts))
        if parts.scheme == "mlflow-artifacts":
            base = parts.path.strip("/")
            return digest_of_files(self._hashes(base)) if base else None
        return None

    def _hashes(self, base: str) -> dict[str, str]:
        found: dict[str, str] = {}
        folders = [""]
        left = MAX_BYTES
        while folders:
            folder = folders.pop()
            listed = self._json(
                "GET", f"{_ARTIFACTS}?path={quote(f'{base}/{folder}'.rstrip('/'))}", None
            )
            for file in listed.get("files", []):
                path = f"{folder}/{file['path'].rpartition('/')[2]}".lstrip("/")
                if file.get("is_dir"):
                    folders.append(path)
                    continue
                found[path], size = self._hash(f"{base}/{path}", left)
                left -= size
                if len(found) > MAX_FILES or len(folders) > MAX_FILES:
                    raise NotCarriedOutError(BAD, f"more than {MAX_FILES} files", where=base)
        if not found:
            raise NotCarriedOutError(ABSENT, "the version has no artifacts", where=base)
        return found

    def _hash(self, path: str, limit: int) -> tuple[str, int]:
        answer = self._send("GET", f"{_ARTIFACTS}/{quote(path)}", None, preload=False)
        try:
            digest, size = hashlib.sha256(), 0
            for chunk in answer.stream(CHUNK):
                digest.update(chunk)
                size += len(chunk)
                if size > limit:
                    raise NotCarriedOutError(BAD, f"more than {MAX_BYTES} bytes", where=path)
        except urllib3.exceptions.HTTPError as error:
            raise NotCarriedOutError(UNAVAILABLE, f"the connection broke ({error})") from error
        finally:
            answer.release_conn()
        return digest.hexdigest(), size

    def _call(self, method: str, what: str, body: dict[str, str]) -> dict[str, Any]:
        if method == "GET":
            asked = "&".join(f"{key}={quote(value, safe='')}" for key, value in body.items())
            return self._json(method, f"{_API}{what}?{asked}", None)
        return self._json(method, f"{_API}{what}", orjson.dumps(body))

    def _json(self, method: str, path: str, body: bytes | None) -> dict[str, Any]:
        answer = self._send(method, path, body, preload=False)
        try:
            raw = answer.read(MAX_ANSWER)
            document = orjson.loads(raw)
        except (urllib3.exceptions.HTTPError, orjson.JSONDecodeError) as error:
            raise NotCarriedOutError(
                FAILED, "the registry's answer can't be read", where=path[:200]
            ) from error
        finally:
            answer.release_conn()
        if not isinstance(document, dict):
            raise NotCarriedOutError(
                FAILED, "the registry's answer is not an object", where=path[:200]
            )
        return document

    def _send(
        self, method: str, path: str, body: bytes | None, *, preload: bool
    ) -> urllib3.BaseHTTPResponse:
        headers = {"content-type": "application/json"}
        if self._config.token_file is not None:
            with self._config.token_file.open(encoding="utf-8") as opened:
                headers["authorization"] = f"Bearer {opened.read(_MAX_TOKEN).strip()}"
        url = self._config.url.rstrip("/") + path
        try:
            answer = self._pool.request(
                method, url, body=body, headers=headers, preload_content=preload, redirect=False
            )
        except urllib3.exceptions.HTTPError as error:
            raise NotCarriedOutError(
                UNAVAILABLE, "the registry does not answer", where=self._config.url
            ) from error
        if answer.status == _HTTP_OK:
            return answer
        said = answer.read(1000).decode("utf-8", "replace")
        answer.release_conn()
        if answer.status == _HTTP_ABSENT:
            raise NotCarriedOutError(ABSENT, f"the registry has none: {said}", where=path[:200])
        status = UNAVAILABLE if answer.status >= _HTTP_SERVER_ERROR else FAILED
        raise NotCarriedOutError(
            status, f"the registry answered {answer.status}: {said}", where=path[:200]
        )


def _model(context: ActionContext) -> tuple[MlflowConfig, str]:
    config = context.site.mlflow
    if config is None:
        raise NotCarriedOutError(UNSUPPORTED, "no MLflow registry is configured for this tenant")
    return config, local_name(context.spec)[1].removeprefix(f"{config.registry}/")


def quarantine(context: ActionContext) -> CommandOutcome:
    """Tag a version as quarantined and take its aliases from it; its artifacts stay.

    Raises:
        NotCarriedOutError: No version is named, it is not there, or the registry does not answer.
    """
    config, name = _model(context)
    version = context.spec.version
    if version is None:
        raise NotCarriedOutError(
            BAD, "the command names no version", where=context.spec.target[:200]
        )
    with ModelRegistry(config) as registry:
        tagged_by = registry.tag_of(name, version)
        aliases = registry.aliases(name)
        mine = sorted(alias for alias, of in aliases.items() if of == version)
        results = {
            "model": name,
            "version": version,
            "aliases_removed": mine,
            "tag": TAG,
            "changed": True,
        }
        if tagged_by not in {None, context.spec.command_id} and not mine:
            return _quarantined_already(context, tagged_by or "", results)
        if context.spec.dry_run:
            return CommandOutcome(status=OK, status_text="would be tagged", results=results)
        # the first run's list, also when it was killed half-way through removing them
        before = context.keep("aliases", orjson.dumps(dict.fromkeys(mine, version)).decode())
        if tagged_by is None or tagged_by == context.spec.replaces:
            registry.set_tag(name, version, context.spec.command_id)
        for alias in mine:
            registry.drop_alias(name, alias)
    results["aliases_removed"] = sorted(orjson.loads(before))
    return CommandOutcome(status=OK, status_text="tagged and without aliases", results=results)


def _quarantined_already(
    context: ActionContext, tagged_by: str, results: dict[str, Any]
) -> CommandOutcome:
    """Return that another command quarantined the version already.

    This command then changed nothing, and its release restores nothing, unless it replaces the
    other command of the same hold.
    """
    takes_over = tagged_by == context.spec.replaces
    if takes_over and not context.spec.dry_run:
        context.keep(TAKES_OVER, tagged_by)
    return CommandOutcome(
        status=OK,
        status_text=f"quarantined already by {tagged_by}",
        results={**results, "changed": takes_over},
    )


def restore(context: ActionContext) -> CommandOutcome:
    """Remove the tag and restore the aliases that no other version has taken.

    Raises:
        NotCarriedOutError: The version is not there, or the registry does not answer.
    """
    config, name = _model(context)
    version, undoes = context.spec.version, context.spec.undoes or ""
    undoes = context.noted_by(undoes, TAKES_OVER) or undoes
    before = context.noted_by(undoes, "aliases")
    if before is None or version is None:
        return CommandOutcome(status=OK, status_text="nothing was tagged: there is nothing to undo")
    with ModelRegistry(config) as registry:
        taken = registry.aliases(name)
        back = [alias for alias in orjson.loads(before) if taken.get(alias) in {None, version}]
        results = {"model": name, "version": version, "aliases": back}
        if context.spec.dry_run:
            return CommandOutcome(status=OK, status_text="would lose its tag", results=results)
        for alias in back:
            registry.set_alias(name, alias, version)
        if registry.tag_of(name, version) == undoes:
            registry.drop_tag(name, version)
    return CommandOutcome(status=OK, status_text="no longer tagged", results=results)


def rollback(context: ActionContext) -> CommandOutcome:
    """Move the serving alias to the last known-good version, its artifacts' digest verified.

    Raises:
        NotCarriedOutError: None is known, or it can't be verified.
    """
    config, name = _model(context)
    version, digest = context.spec.rollback_version, context.spec.rollback_digest
    if version is None or digest is None:
        raise NotCarriedOutError(REFUSED, "no known-good version and digest are named")
    with ModelRegistry(config) as registry:
        registry.version(name, version)
        if registry.tag_of(name, version) is not None:
            raise NotCarriedOutError(REFUSED, f"version {version} is itself quarantined")
        found = registry.digest(name, version)
        if found != digest:
            raise NotCarriedOutError(
                REFUSED,
                f"version {version} does not have the known-good digest"
                if found
                else "its artifacts can't be reached, so it can't be verified",
                where=f"{name}@{version}",
                remedy="add their folder to mlflow.artifact_roots" if found is None else "",
            )
        now = registry.aliases(name).get(config.alias, "")
        results = {"model": name, "alias": config.alias, "version": version, "digest": digest}
        if context.spec.dry_run:
            return CommandOutcome(status=OK, status_text="would be rolled back", results=results)
        previous = context.keep("previous", _alias_before(context, config, context.before(now)))
        context.keep("target", version)
        registry.set_alias(name, config.alias, version)
    return CommandOutcome(
        status=OK,
        status_text=f"{config.alias} is version {version}, its digest verified",
        results={**results, "previous": previous or None, "changed": previous != version},
    )


def _alias_before(context: ActionContext, config: MlflowConfig, now: str) -> str:
    """Return the version the alias had; a quarantine before may have removed it."""
    if now:
        return now
    for command_id in context.spec.after:
        removed = context.noted_by(command_id, "aliases")
        versions: dict[str, str] = orjson.loads(removed) if removed else {}
        if config.alias in versions:
            return versions[config.alias]
    return ""


def roll_forward(context: ActionContext) -> CommandOutcome:
    """Move the serving alias back to the version it had before a rollback.

    Raises:
        NotCarriedOutError: Someone moved it since, or that version is still quarantined.
    """
    config, name = _model(context)
    undoes = context.spec.undoes or ""
    previous, target = context.noted_by(undoes, "previous"), context.noted_by(undoes, "target")
    if not previous or target is None:
        return CommandOutcome(
            status=OK, status_text="nothing was rolled back, or there was none before"
        )
    with ModelRegistry(config) as registry:
        now = registry.aliases(name).get(config.alias)
        if now not in {previous, target}:
            raise NotCarriedOutError(BAD, "someone else has moved the alias since")
        if registry.tag_of(name, previous) is not None:
            raise NotCarriedOutError(BAD, "the previous version is still quarantined")
        if context.spec.dry_run:
            return CommandOutcome(status=OK, status_text=f"would be version {previous} again")
        registry.set_alias(name, config.alias, previous)
    return CommandOutcome(
        status=OK,
        status_text=f"{config.alias} is version {previous} again",
        results={"model": name, "alias": config.alias, "version": previous},
    )
