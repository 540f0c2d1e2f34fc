"""An MLflow server of a test's own."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import orjson
import pytest

from schemas.components import digest_of_files

ROOT = Path(__file__).resolve().parents[3]
PLACES = (os.environ.get("MLFLOW_COMMAND", ""), str(ROOT / ".venv/mlflow/bin/mlflow"))
COMMAND = next((found for path in PLACES if path and (found := shutil.which(path))), None)


class MlflowServer:
    """An MLflow server of its own, on 127.0.0.1."""

    def __init__(self, folder: Path, **environment: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        assert COMMAND is not None
        with (folder / "mlflow.log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(COMMAND, "server", "--host", "127.0.0.1", "--port", str(port)),
                    *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--workers", "1"),
                    *("--artifacts-destination", str(folder / "artifacts")),
                ],
                env={
                    **os.environ,
                    "PATH": f"{Path(COMMAND).parent}:{os.environ['PATH']}",
                    # what runs in the background of a server is not spoken to
                    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                    **environment,
                },
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        # it imports for a minute on a machine that does other work
        deadline = time.monotonic() + 300
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                    break
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    self.stop()
                    pytest.fail((folder / "mlflow.log").read_text()[-2000:])
                time.sleep(0.2)

    def request(self, method: str, path: str, body: bytes) -> dict[str, Any]:
        asked = urllib.request.Request(
            self.url + path, data=body, method=method, headers={"content-type": "application/json"}
        )
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return dict(orjson.loads(answer.read() or b"{}"))

    def call(self, method: str, what: str, **body: Any) -> dict[str, Any]:
        return self.request(method, f"/api/2.0/mlflow/{what}", orjson.dumps(body))

    def add(self, raw: bytes, *, name: str = "churn", file: str = "model.bin") -> str:
        """Log a model's files in a run and register them; return their digest."""
        run = self.call("POST", "runs/create", experiment_id="0", start_time=1)["run"]["info"]
        place = run["artifact_uri"].removeprefix("mlflow-artifacts:/").lstrip("/")
        files = {"MLmodel": b"flavors: {}\n", f"data/{file}": raw}
        for path, content in files.items():
            self.request(
                "PUT", f"/api/2.0/mlflow-artifacts/artifacts/{place}/model/{path}", content
            )
        source = f"{run['artifact_uri']}/model"
        self.call("POST", "model-versions/create", name=name, source=source, run_id=run["run_id"])
        return digest_of_files(
            {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}
        )

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(30)
