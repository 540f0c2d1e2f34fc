"""A model hub on 127.0.0.1: repositories with commits, branches, tags and pull requests."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from tests.agents.fetching.servers import Server

PER_PAGE = 2


def commit_id(text: str) -> str:
    """Return the id of a commit, by the name that a test gives it."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class HubServer:
    """Serves one repository the way the hub does, to everybody unless a test says otherwise."""

    def __init__(self, server: Server, repository: str = "bigorg/base", kind: str = "models"):
        self.server = server
        self.repository = repository
        self.kind = kind
        self.history: dict[str, list[str]] = {}
        self.refs: dict[str, list[dict[str, Any]]] = {
            "branches": [], "tags": [], "converts": [], "pullRequests": [],
        }  # fmt: skip

    @property
    def base(self) -> str:
        return f"/api/{self.kind}/{self.repository}"

    @property
    def hub(self) -> str:
        return f"http://{self.server.host}"

    def uri(self, commit: str) -> str:
        kind = "" if self.kind == "models" else f"{self.kind}/"
        return f"hf://{kind}{self.repository}@{commit}"

    def commit(self, name: str, files: dict[str, bytes], parents: list[str] | None = None) -> str:
        """Add a commit and serve its files, its listing and its history, a page at a time."""
        commit = commit_id(name)
        log = [commit, *(self.history[parents[0]] if parents else ())]
        self.history[commit] = log
        listed = []
        for path, raw in files.items():
            at = "" if self.kind == "models" else f"/{self.kind}"
            self.server.serve(f"{at}/{self.repository}/resolve/{commit}/{path}", raw)
            entry: dict[str, Any] = {"rfilename": path, "size": len(raw)}
            if path.endswith((".bin", ".safetensors")):
                entry["lfs"] = {"sha256": hashlib.sha256(raw).hexdigest(), "size": len(raw)}
            listed.append(entry)
        info = {"id": self.repository, "sha": commit, "siblings": listed}
        self.server.answer(f"{self.base}/revision/{commit}", 200, {}, json.dumps(info).encode())
        path = f"{self.base}/commits/{commit}"
        for start in range(0, len(log), PER_PAGE):
            page = start // PER_PAGE
            query = f"?p={page}" if page else ""
            more = start + PER_PAGE < len(log)
            link = {"Link": f'<{self.hub}{path}?p={page + 1}>; rel="next"'} if more else {}
            body = [{"id": entry, "title": "x"} for entry in log[start : start + PER_PAGE]]
            self.server.answer(f"{path}{query}", 200, link, json.dumps(body).encode())
        return commit

    def point(self, group: str, ref: str, commit: str) -> None:
        """Let a reference of a group (branches, tags, converts, pullRequests) name a commit."""
        kept = [kept_ref for kept_ref in self.refs[group] if kept_ref["ref"] != ref]
        name = ref.rpartition("/")[2]
        self.refs[group] = [*kept, {"name": name, "ref": ref, "targetCommit": commit}]
        # Pull requests are named only to who asks for them, as the hub does.
        shown = {key: value for key, value in self.refs.items() if key != "pullRequests"}
        self.server.answer(f"{self.base}/refs", 200, {}, json.dumps(shown).encode())
