"""The examples in `--help` work as they are printed, in a place where what they name exists."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import pty
import select
import shlex
import signal
import subprocess
import time
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import msgspec
import orjson
import pytest
import typer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.main import get_command

from agents.checking import assessment_of
from agents.intelligence.snapshot import SnapshotManifest, signed_bytes
from agents.messages import assessment_message
from agents.ports import Record
from schemas import dead_letters as reasons
from schemas.channels import Channel
from schemas.cloudevents import read_event
from schemas.events import Event
from schemas.incidents.commands import CommandView
from schemas.incidents.holds import (
    HoldState,
    HoldView,
    ReasonState,
    ReasonView,
    ThingView,
    hold_key,
)
from schemas.incidents.views import TaskView
from streams.cli import COMMANDS, main
from streams.demo.files import safetensors
from streams.kafka.compacted import publish_values
from streams.kafka.dead_letters import dead_letter
from streams.kafka.publisher import delivering
from streams.kafka.topics import ensure_topics, topic_name
from streams.settings import load_settings
from streams.signing_keys import COMMANDS as COMMAND_KEYS
from streams.signing_keys import keys_dir, load_or_create_signing_key
from tests.agents.checks.provenance.signing import make_model, new_key, public_pem, sign_with_key
from tests.agents.fetching.servers import Server
from tests.agents.intelligence.test_feeds import archive, record
from tests.command_here import command_here
from tests.docs.conftest import Reader
from tests.docs.reading import ROOT
from tests.docs.shell import Ran, Step, run_in_order
from tests.installed import BESIDE_OTHERS
from tests.schemas.events import PACKAGE_INSTALL, PIPELINE_RUN, REGISTRY_PUSH
from tests.schemas.examples import command
from tests.streams.http.certificates import Authority
from tests.streams.reports.test_incident_report import incident
from tests.wheels import write_wheel

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

SECONDS = 240

EXIT_CODES = {
    # findings
    "tidewatch intel show pypi:litellm": 1,
    "tidewatch verify --identity ci@acme.example --issuer https://idp.example dist.whl": 1,
}
"""Examples that answer with another exit code than 0: what they look at is not in order."""

UNTIL_INTERRUPTED = {
    "tidewatch worker": "health-listening",
    "tidewatch worker --agents checks,scan": "health-listening",
    "tidewatch up": "behind:",
    "tidewatch up --demo": "Malicious payload",
    "tidewatch up --replay events.jsonl": "behind:",
    "tidewatch watch alerts --from-start": "class_uid",
    "tidewatch gateway --config gateway.toml": "gateway-started",
    "tidewatch admit --config admit.toml": "admission-ready",
    "tidewatch index --config index.toml": "index-ready",
    "tidewatch watch --live": "behind:",
    "tidewatch notify --config notify.toml": "notifier-started",
    "tidewatch taxii --config taxii.toml": "taxii-ready",
    "tidewatch console --config console.toml": "console-index-whole",
    "tidewatch respond run --config responder.toml": "responder-started",
}
"""Examples that go on until they are interrupted, each with what it says by then."""

LEFT_RUNNING = {"tidewatch broker start --fresh": "tidewatch broker stop"}

OF_A_SHELL = frozenset("|<>&;$`*?~\\")
"""What only a shell understands; an example without it is also run without one."""


def examples(command: typer.core.TyperCommand) -> list[str]:
    """Return the examples of a command, as `--help` prints them."""
    with typer.Context(command, info_name="x", resilient_parsing=True) as context:
        text = command.get_help(context)
    lines = text.partition("Examples:\n")[2].splitlines()
    assert lines, text
    return [line.strip() for line in lines]


def of_module(name: str) -> list[str]:
    """Return the examples of a command and of those below it."""
    command = get_command(import_module(COMMANDS[name][0]).app)
    if isinstance(command, typer.core.TyperGroup):
        return [line for child in command.commands.values() for line in examples(child)]
    return examples(command)


@pytest.fixture(scope="module")
def place(
    kafka: str, web: Server, reader: Reader, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, str]]:
    """A folder and a Kafka on which there is all that the examples name."""
    folder = tmp_path_factory.mktemp("examples") / "folder"
    folder.mkdir()
    environment = reader(
        kafka,
        fetch_hub=f"http://{web.host}",
        fetch_private_hosts=json.dumps([web.host]),
        # a person waits less for a worker that is started again
        session_seconds="5",
    )
    state = Path(environment["TIDEWATCH_STATE_DIR"])
    settings = load_settings(kafka=kafka, state_dir=state)
    write_files(folder, state)
    (folder / "notify.toml").write_text(
        f'[destinations.chat]\napprise = "json://{web.host}/chat"\n[[routes]]\n'
        'name = "soc"\ntenants = ["*"]\nsend_to = ["chat"]\n'
    )
    web.answer("/chat", 200, {})
    (folder / "gateway-secret").write_text("a-secret-of-at-least-16\n")
    (folder / "gateway.toml").write_text(
        '[listen]\nport = 0\n[endpoints.hub]\ntenant = "acme"\nproducer = "huggingface"\n'
        'secret = "file:gateway-secret"\n'
    )
    pair = Authority(folder, "cluster").issue("localhost")
    (folder / "admit.toml").write_text(
        f'[tenants]\n"ml-*" = "acme"\n[listen]\nport = 0\n'
        f'certificate = "{pair.certificate}"\nkey = "{pair.key}"\n'
    )
    (folder / "index.toml").write_text('tenant = "acme"\n[listen]\nport = 0\n')
    (folder / "taxii.secret").write_text("s" * 32)
    (folder / "taxii.toml").write_text(
        '[listen]\nport = 0\n[[readers]]\nname = "isac"\ntlp = "green"\n'
        f'token = "file:{folder}/taxii.secret"\n'
    )
    (folder / "console.toml").write_text("[listen]\nport = 0\n")
    serve_hub(web)
    asyncio.run(write_topics(settings))
    return folder, environment


def write_files(folder: Path, state: Path) -> None:
    """Write the files that examples name."""
    events = (REGISTRY_PUSH, PACKAGE_INSTALL, PIPELINE_RUN)
    (folder / "events.jsonl").write_bytes(b"\n".join(map(orjson.dumps, events)))
    model = make_model(folder / "model")
    key = new_key()
    (folder / "signer.pem").write_text(public_pem(key))
    sums = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(model)}\n"
        for path in sorted(model.rglob("*"))
        if path.is_file()
    ]
    (folder / "SHA256SUMS").write_text("".join(sums))
    scratch = folder.with_name("scratch")
    scratch.mkdir()
    sign_with_key(model, key, scratch)
    write_wheel(folder, "torch", "2.9.0")
    (folder / "torch-2.9.0-py3-none-any.whl").rename(folder / "dist.whl")
    (folder / "requirements.in").write_text("torch==2.9.0\n")
    (folder / "requirements.txt").write_text("torch==2.9.0\n")
    raw = archive(record("litellm"), record("evil"))
    feed = Ed25519PrivateKey.generate()
    digest = hashlib.sha256(raw).hexdigest()
    manifest = SnapshotManifest(source="osv", count=2, sha256=digest, created="2026", key_id="k")
    signature = base64.b64encode(feed.sign(signed_bytes(manifest))).decode()
    signed = msgspec.structs.replace(manifest, signature=signature)
    (folder / "all.zip").write_bytes(raw)
    (folder / "all.zip.manifest.json").write_bytes(msgspec.json.encode(signed))
    (folder / "feed.pem").write_bytes(
        feed.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    (folder / "blocklist.txt").write_text("pypi:acme-features\n")
    (folder / "tenant-a.toml").write_text('tenant = "tenant-a"\nversion = 1\n')
    (folder / "responder.toml").write_text(
        f'state_dir = "{folder}/responder"\n[tenants.acme.blocklist]\n'
        f'sources = "{folder}/blocked.txt"\n'
    )
    load_or_create_signing_key(keys_dir(state), COMMAND_KEYS)


def serve_hub(web: Server) -> None:
    """Let the server be a model hub with one model."""
    revision, weights = "9" * 40, safetensors("hub")
    file = {"rfilename": "model.safetensors", "size": len(weights)}
    info = json.dumps({"sha": revision, "siblings": [file]}).encode()
    for name in ("main", revision):
        web.answer(f"/api/models/org/name/revision/{name}", 200, {}, info)
        web.serve(f"/org/name/resolve/{name}/model.safetensors", weights)


async def write_topics(settings: object) -> None:
    """Write the incident, the alert and the dead letter that examples name."""
    await ensure_topics(settings)
    spec = command(incident="inc-3f2a91")
    task = TaskView(
        id="tsk-1", tenant="acme", system="", component="key", kind="rotate", state="open", text="x"
    )
    document = incident(
        id="inc-3f2a91",
        commands=(
            CommandView(spec=spec, state="proposed"),
            CommandView(spec=command(command_id="failed-1"), state="failed"),
        ),
        tasks=(task,),
    )
    hold = HoldView(
        tenant="acme",
        component="model:huggingface/acme/churn",
        things=(
            ThingView(
                action="quarantine",
                target="model:huggingface/acme/churn@r2",
                state=HoldState.HELD,
                generation=0,
                reasons=(
                    ReasonView(incident=document.id, state=ReasonState.AUTOMATIC, closed=True),
                ),
                command=spec,
            ),
        ),
    )
    key = hold_key(hold.tenant, hold.component)
    await publish_values(settings, Channel.HOLDS, [(key, msgspec.json.encode(hold))])
    await publish_values(
        settings, Channel.INCIDENTS, [(document.id, msgspec.json.encode(document))]
    )
    source = Record(
        topic=topic_name(settings, Channel.PACKAGE_INSTALL),
        partition=2,
        offset=9917,
        key=b"acme|pypi:x",
        value=b"{",
        headers=(),
        timestamp_ms=1_795_000_000_000,
    )
    letter = dead_letter(
        source, reason=reasons.INVALID_JSON, error="not JSON", app="checks", limit=1000
    )
    async with delivering(settings) as publisher:
        topic = topic_name(settings, Channel.DEAD_LETTER)
        await publisher.put(topic, letter.key, letter.value, letter.headers)
        alert = (ROOT / "tests" / "golden" / "alerts.json").read_bytes()
        await publisher.put(topic_name(settings, Channel.ALERTS), b"alert", alert, [])
        assessed = assessment_of(read_sent(PACKAGE_INSTALL), (), (), "event", final=True)
        value = assessment_message(assessed, datetime.now(UTC)).value
        await publisher.put(topic_name(settings, Channel.ASSESSMENTS), b"assessed", value, [])
        for number in range(5):
            value = b'{"id": "ioc-%d"}' % number
            await publisher.put(topic_name(settings, Channel.IOCS), b"ioc", value, [])


def read_sent(document: object) -> Event[object]:
    """Return an event as the checks read it."""
    return read_event(orjson.dumps(document), (), timestamp_ms=1_795_000_000_000, max_bytes=1 << 20)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_of_a_command_work(name: str, place: tuple[Path, dict[str, str]]) -> None:
    folder, environment = place
    if name == "broker":
        environment = {**without(environment, "TIDEWATCH_KAFKA"), **BESIDE_OTHERS}
    started = False
    for line in of_module(name):
        if line in UNTIL_INTERRUPTED:
            interrupted(line, folder, environment, UNTIL_INTERRUPTED[line])
        elif started and name != "broker" and not set(line) & OF_A_SHELL:
            right(run_here(line, folder, environment))
        else:
            steps = [Step(line)]
            if line in LEFT_RUNNING:
                steps.append(Step(LEFT_RUNNING[line]))
            for did in run_in_order(steps, folder, environment, seconds=SECONDS):
                right(did)
        started = True


def right(did: Ran) -> None:
    """Check that an example did what it should."""
    printed = "\n".join(did.printed)
    assert "Traceback" not in printed
    assert did.code == EXIT_CODES.get(did.command, 0), f"{did.command}:\n{printed}"


def run_here(line: str, folder: Path, environment: dict[str, str]) -> Ran:
    """Run an example in this process: that its command starts, one before it has shown."""
    log = folder.with_name("here.log")
    log.write_text("")
    with contextlib.chdir(folder), command_here(log, environment):
        code = main(shlex.split(line)[1:])
    return Ran(line, code, tuple(log.read_text().splitlines()))


def without(environment: dict[str, str], name: str) -> dict[str, str]:
    """Return an environment without a variable."""
    return {key: value for key, value in environment.items() if key != name}


def interrupted(line: str, folder: Path, environment: dict[str, str], said: str) -> None:
    """Run an example on a terminal until it has said something, then press Ctrl-C."""
    screen, terminal = pty.openpty()
    process = subprocess.Popen(
        ["bash", "-c", f"exec {line}"],
        cwd=folder,
        env={**environment, "TERM": "xterm", "COLUMNS": "200", "LINES": "50"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        # the tests may be run with Ctrl-C ignored, as a job in the background
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 -- one call
    )
    os.close(terminal)
    seen = b""
    deadline = time.monotonic() + SECONDS

    def read() -> bytes:
        """Return what came on the screen; nothing once its other side is closed."""
        if not select.select([screen], [], [], 0.2)[0]:
            return b""
        try:
            return os.read(screen, 65536)
        except OSError:
            return b""

    try:
        while said.encode() not in seen:
            assert time.monotonic() < deadline, f"{line}:\n{seen[-3000:].decode()}"
            seen += read()
            assert process.poll() is None, f"{line} ended:\n{seen[-3000:].decode()}"
        process.send_signal(signal.SIGINT)
        while process.poll() is None:
            assert time.monotonic() < deadline, f"{line} goes on:\n{seen[-3000:].decode()}"
            seen += read()
        assert process.wait(SECONDS) in {0, 130}, seen[-3000:].decode()
        assert b"Traceback" not in seen, seen[-3000:].decode()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        os.close(screen)
