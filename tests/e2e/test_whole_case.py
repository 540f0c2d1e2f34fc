"""One case from first to last on Kafka: found, alerted, contained, recovered, closed, shared.

People are notified and approve. Two tenants are served by `tidewatch respond`, the third by a
responder that was written from the contract alone.

Played twice on topics of their own: once undisturbed, once while ledger, incidents and responder
are killed again and again. Both must end the same, with the same ids.

Over 500 lines, since one case runs through all applications.
"""

from __future__ import annotations

import base64
import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import msgspec
import orjson
import pytest
from standardwebhooks import Webhook
from stix2validator import ValidationOptions, validate_string

from schemas.channels import Channel
from schemas.components import digest_of_files
from schemas.incidents.views import IncidentDocument
from schemas.policy import Policy
from streams.demo.files import (
    HARMLESS_COMMAND,
    calling_pickle,
    model_config,
    safetensors,
    torch_archive,
)
from streams.demo.story_builder import StoryBuilder
from streams.reports.lessons import (
    failed_controls,
    learned_facts,
    policy_changes,
    rules_to_add,
)
from tests.agents.notification.web import receiving
from tests.e2e.chain import Chain, results
from tests.e2e.foreign_responder import ForeignResponder, Site
from tests.e2e.scenario_run import send_events
from tests.installed import TIDEWATCH

pytestmark = [pytest.mark.kafka, pytest.mark.fault, pytest.mark.timeout(600)]

SECONDS = 240
MAKER, USER, HOST = "tenant-maker", "tenant-user", "tenant-host"
TENANTS = (MAKER, USER, HOST)
MODEL = "acme-labs/churn"
HUB = "hub"
"""Where the versions are published; no tenant's containment reaches there."""
KEY = f"model:huggingface/{MODEL}"
CLEAN = {"model.safetensors": safetensors("churn 1"), "config.json": model_config()}
KILLS = 3
"""Of each of the three."""
HOSTILE = {
    "pytorch_model.bin": torch_archive(calling_pickle("posix", "system", HARMLESS_COMMAND)),
    "config.json": model_config(),
}
MENDED = {"model.safetensors": safetensors("churn 3"), "config.json": model_config()}
VERSIONS = {"v1": CLEAN, "v2": HOSTILE, "v3": MENDED}
OWNER = {"name": "acme-labs", "id": "org-1", "auth": "oidc"}
SIGNED = [{"kind": "sigstore", "identity": "https://acme-labs.example"}]


def digest_of(raw):
    return sha256(raw).hexdigest()


def digest(version):
    return digest_of_files({path: digest_of(raw) for path, raw in VERSIONS[version].items()})


def folder_of(root, tenant):
    return root / tenant / "models/huggingface" / MODEL


def open_shops(root):
    """Put the versions on the hub, and into each tenant's store; the second is in use."""
    shutil.rmtree(root, ignore_errors=True)
    for version in VERSIONS:
        write(root / HUB / version, version)
    for tenant in TENANTS:
        for version in ("v1", "v2"):
            place(root, tenant, version)
        (folder_of(root, tenant) / "current").symlink_to("versions/v2")
        (root / tenant / "logs").mkdir()
        (root / tenant / "logs/serving.log").write_text(f"{tenant} loaded v2\n")
        (root / tenant / "etc").mkdir()


def place(root, tenant, version):
    write(folder_of(root, tenant) / "versions" / version, version)


def write(folder, version):
    for path, raw in VERSIONS[version].items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(raw)


def files_of(root, version):
    return [
        {
            "path": path,
            "uri": (root / HUB / version / path).resolve().as_uri(),
            "size": len(raw),
            "digests": {"sha256": digest_of(raw)},
        }
        for path, raw in VERSIONS[version].items()
    ]


def reported(root):
    """Return what happens, in two parts: until it is contained, and the recovery."""
    story = StoryBuilder("whole-case", datetime(2026, 11, 18, 8, tzinfo=UTC), root)

    def push(tenant, version, action="push", system="gateway"):
        return story.push(
            tenant, MODEL, action=action, revision=version, publisher=OWNER, signatures=SIGNED,
            files=files_of(root, version), systems=[system],
        )  # fmt: skip

    def run(tenant, version):
        used = {"component": KEY, "revision": version, "digests": {"sha256": digest(version)}}
        return story.run(tenant, f"{tenant}-score", stage="serving", inputs=[used])

    before = [push(tenant, "v1", "push" if tenant == MAKER else "pull") for tenant in TENANTS]
    story.wait(days=1)
    before += [push(MAKER, "v2"), run(MAKER, "v2"), run(USER, "v2"), push(USER, "v2", "pull"),
               push(HOST, "v2", "pull")]  # fmt: skip
    story.wait(days=1)
    after = [push(MAKER, "v3"), run(MAKER, "v3"), push(USER, "v3", "pull"), run(USER, "v3"),
             push(HOST, "v3", "pull")]  # fmt: skip
    return before, after


def policies(root):
    return [
        Policy(
            tenant=tenant,
            roots=((root / HUB).resolve().as_uri(),),
            automatic=("capture-evidence", "quarantine", "block"),
            advised=("hold-pipeline", "rebuild"),
            dry_run=False,
        )
        for tenant in TENANTS
    ]


class Responder:
    """`tidewatch respond` as a process, for two of the tenants."""

    def __init__(self, chain, root):
        self.chain = chain
        self.config = chain.folder / f"{chain.prefix}-responder.toml"
        self.config.write_text(
            f'state_dir = "{chain.folder}/{chain.prefix}-responder"\n'
            + "".join(
                f"""
                [tenants.{tenant}.store]
                root = "{root}/{tenant}/models"
                quarantine = "{root}/{tenant}/quarantine"
                [tenants.{tenant}.evidence]
                folder = "{root}/{tenant}/evidence"
                roots = ["{root}/{tenant}/logs", "{root}/{tenant}/models"]
                [tenants.{tenant}.evidence.systems]
                gateway = ["{root}/{tenant}/logs"]
                [tenants.{tenant}.blocklist]
                sources = "{root}/{tenant}/etc/blocked.txt"
                """
                for tenant in (MAKER, USER)
            )
        )
        self.environment = {
            **os.environ,
            **{f"TIDEWATCH_{name.upper()}": str(value) for name, value in chain.options.items()},
        }
        self.log = chain.folder / f"{chain.prefix}-worker-responder.log"
        self.log.touch()
        self.process = None

    def command(self, *words):
        return [TIDEWATCH, *words, "--config", str(self.config)]

    def wait_for_key(self):
        """Wait for the key that signs commands: the responder trusts it from its start."""
        trusted = Path(self.chain.options["state_dir"]) / "keys/trusted/commands"
        deadline = time.monotonic() + SECONDS
        while not list(trusted.glob("*.pem")):
            assert time.monotonic() < deadline, self.chain.logs()
            time.sleep(0.1)

    def start(self):
        with self.log.open("ab") as opened:
            self.process = subprocess.Popen(
                self.command("respond", "run"), env=self.environment, stdout=opened, stderr=opened
            )

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
            self.process.kill()
            self.process.wait()

    def tidewatch(self, *words):
        done = subprocess.run(
            [TIDEWATCH, *words],
            env=self.environment, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout


def incidents(chain):
    return {
        record.key.decode(): msgspec.json.decode(record.value, type=IncidentDocument)
        for record in chain.read(Channel.INCIDENTS)
        if record.value is not None
    }


def case_of(chain):
    """Return the incident about the hostile file; None before there is one."""
    found = [
        incident
        for incident in incidents(chain).values()
        if any(finding.ioc_type == "malicious_payload" for finding in incident.findings)
    ]
    assert len(found) <= 1, [record.root for record in found]
    return found[0] if found else None


def shown(case):
    if case is None:
        return None
    commands = [(c.spec.tenant, c.spec.action, c.state, c.status_text) for c in case.commands]
    return case.status, commands, [(t.tenant, t.system, t.component, t.state) for t in case.tasks]


def wait_until(chain, what, reached, seconds=SECONDS):
    deadline = time.monotonic() + seconds
    while True:
        case = case_of(chain)
        if case is not None and reached(case):
            return case
        if time.monotonic() > deadline:
            pytest.fail(f"not {what}: {shown(case)}\n{chain.logs()}")
        time.sleep(0.7)


def carried_out(case):
    back = {command.spec.tenant for command in case.commands
            if command.spec.action == "rollback" and command.state == "done"}  # fmt: skip
    return back == set(TENANTS) and {command.state for command in case.commands} <= {
        "done",
        "advised",
    }


def proposed(case):
    return {
        command.spec.tenant: command.spec.command_id
        for command in case.commands
        if command.spec.action == "rollback" and command.state == "proposed"
    }


def notified(responder):
    """Notify people of what is on the topics so far; return the messages of a webhook."""
    folder = responder.chain.folder
    secret = folder / "webhook.secret"
    secret.write_text("whsec_" + base64.b64encode(bytes(range(32))).decode())
    with receiving() as receiver:
        config = folder / "notify.toml"
        config.write_text(
            f"""
            [destinations.soc]
            webhook = "http://{receiver.host}/"
            secret_file = "{secret}"
            [[routes]]
            name = "soc"
            tenants = ["*"]
            send_to = ["soc"]
            group_wait_seconds = 0.3
            group_interval_seconds = 0.3
            """
        )
        log = folder / "notify.log"
        with log.open("wb") as opened:
            process = subprocess.Popen(
                [TIDEWATCH, "notify", "--config", str(config)],
                env=responder.environment, stdout=opened, stderr=opened,
            )  # fmt: skip
        try:
            deadline = time.monotonic() + SECONDS
            while not (
                all(named(tenant, receiver.documents()) for tenant in TENANTS)
                and "low" in severities(USER, receiver.documents())
            ):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
        finally:
            process.terminate()
            process.wait(60)
        return [
            (Webhook(secret.read_text()).verify(body, headers), headers["webhook-id"])
            for _, headers, body in receiver.got
        ]


def named(tenant, messages):
    """Return the messages that name a tenant."""
    return [message for message in messages if tenant in orjson.dumps(message).decode()]


def severities(tenant, messages):
    """Return the severities that a tenant's messages say, the last one last."""
    return [
        message["data"]["severity"] for message in messages if message["data"]["tenant"] == tenant
    ]


def tell(chain, events, pause):
    """Send events; with a pause (seconds) after each, so that kills come in between."""
    if not pause:
        send_events(chain, events)
        return
    for event in events:
        send_events(chain, [event])
        time.sleep(pause)


def play(chain, root, harass=None):
    """Play the case on a chain; `harass` disturbs it from its first event to its end."""
    open_shops(root)
    before, after = reported(root)
    chain.send(
        Channel.POLICY, [(policy.tenant, msgspec.json.encode(policy)) for policy in policies(root)]
    )
    responder = Responder(chain, root)
    trusted = Path(chain.options["state_dir"]) / "keys/trusted/commands"
    site = Site(root / HOST, folder_of(root, HOST))
    foreign = ForeignResponder(chain.settings, HOST, site, trusted)
    done = threading.Event()
    disturbing = None
    pause = 0.0 if harass is None else 0.5
    chain.start()
    try:
        responder.wait_for_key()
        responder.start()
        foreign.start()
        if harass is not None:
            disturbing = threading.Thread(target=harass, args=(chain, responder, done), daemon=True)
            disturbing.start()
        tell(chain, before, pause)
        case = wait_until(chain, "proposed", lambda step: len(proposed(step)) == len(TENANTS))
        responder.tidewatch(
            "incidents", "severity", case.id, "low", "--tenant", USER, "--reason", "a test host"
        )
        wait_until(
            chain,
            "less severe",
            lambda step: "low" in {part.score.band for part in step.tenants if part.tenant == USER},
        )
        messages = notified(responder) if harass is None else []
        approved = proposed(case)
        for tenant, command in approved.items():
            responder.tidewatch(
                "incidents", "approve", case.id, command, "--tenant", tenant, "--reason", "agreed"
            )
        contained = wait_until(chain, "contained", carried_out)
        links = {
            tenant: str((folder_of(root, tenant) / "current").readlink()) for tenant in TENANTS
        }
        for tenant in TENANTS:
            place(root, tenant, "v3")
        tell(chain, after, pause)
        closed = wait_until(chain, "closed", lambda step: step.status == "closed")
        done.set()
        if disturbing is not None:
            disturbing.join(30)
        send_events(chain, [*before, *after])
        chain.settle(SECONDS)
        return SimpleNamespace(
            case=case_of(chain), contained=contained, closed=closed, links=links,
            results=results(chain), tree=tree(root), chain=chain, root=root,
            shared=chain.read(Channel.INTEL_SHARE), messages=messages, foreign=foreign.answered,
            report=responder.tidewatch("incidents", "report", closed.id),
        )  # fmt: skip
    finally:
        done.set()
        foreign.stop()
        responder.stop()
        chain.stop()


def tree(root):
    """Return every file and link of the stores, without the times at which they were written.

    Returns:
        Path to the content's digest, or to where a link points.
    """
    found = {}
    for path in sorted(root.rglob("*")):
        name = re.sub(r"/quarantine/\d{8}/", "/quarantine/DAY/", str(path.relative_to(root)))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file() and "evidence" not in path.parts and path.name != "manifest.json":
            content = re.sub(rb"\d{4}-\d\d-\d\d[T ][\d:.]+(Z|[+]00:00)", b"TIME", path.read_bytes())
            # a command's reason names what was found when it was issued, in whichever order
            content = re.sub(rb"(# tidewatch \S+ TIME inc-\w+) [^\n]*", rb"\1", content)
            found[name] = digest_of(content)
    return found


def killer(chain, responder, done):
    """Kill ledger, incidents and responder with SIGKILL at random moments; restart the last."""
    chance = random.Random(5)
    killed = dict.fromkeys(("ledger", "incidents", "responder"), 0)
    while not done.wait(chance.uniform(0.2, 1.0)):
        name = min(killed, key=lambda process: (killed[process], chance.random()))
        if killed[name] >= KILLS:
            break
        pid = responder.process.pid if name == "responder" else running(chain, name)
        try:
            os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, TypeError):
            continue
        killed[name] += 1
        if name == "responder":
            responder.process.wait()
            responder.start()
    chain.killed = killed


def running(chain, name):
    """Return the process id of an app, by the supervisor's log; None before its first start."""
    log = (chain.folder / f"{chain.prefix}-worker-0.log").read_bytes()
    lines = [orjson.loads(line) for line in log.splitlines() if b'"child-started"' in line]
    return next((line["pid"] for line in reversed(lines) if line["child"] == name), None)


@pytest.fixture(scope="module")
def shops(tmp_path_factory):
    return tmp_path_factory.mktemp("shops")


@pytest.fixture(scope="module")
def calm(kafka, tmp_path_factory, shops):
    return play(Chain(kafka, tmp_path_factory.mktemp("calm")), shops)


@pytest.fixture(scope="module")
def harassed(kafka, tmp_path_factory, shops, calm):
    assert calm.closed, "it is played first: both use the same folders"
    return play(Chain(kafka, tmp_path_factory.mktemp("harassed")), shops, killer)


def test_one_incident_and_an_alert_for_each_tenant_that_names_no_other(calm):
    assert calm.case.root == f"sha256:{digest_of(HOSTILE['pytorch_model.bin'])}"
    assert {part.tenant for part in calm.case.tenants} == set(TENANTS)
    reported = [
        record
        for record in calm.chain.read(Channel.ALERTS)
        if orjson.loads(record.value)["metadata"]["correlation_uid"] == calm.case.id
    ]
    alerts = {}
    for record in reported:
        document = orjson.loads(record.value)
        tenant = document["metadata"]["tenant_uid"]
        alerts.setdefault(tenant, set()).add(document["metadata"]["uid"])
        for other in set(TENANTS) - {tenant}:
            assert other.encode() not in record.value
            assert all(other.encode() not in (value or b"") for _, value in record.headers)
    assert {tenant: len(ids) for tenant, ids in alerts.items()} == dict.fromkeys(TENANTS, 1)


def test_the_responder_quarantined_and_rolled_back_real_folders(calm):
    for tenant in TENANTS:
        assert calm.links[tenant] == "versions/v1"
        names = [name for name in calm.tree if name.startswith(f"{tenant}/")]
        assert not [name for name in names if "/models/" in name and "/versions/v2/" in name]
        kept = [name for name in names if "/quarantine/" in name]
        content = {calm.tree[name] for name in kept}
        assert content == {digest_of(raw) for raw in HOSTILE.values()}
        evidence = list((calm.root / tenant / "evidence").rglob("*.tar.gz"))
        assert evidence
        blocked = (calm.root / tenant / "etc/blocked.txt").read_text()
        assert digest_of(HOSTILE["pytorch_model.bin"]) in blocked


def test_people_were_notified_of_each_tenants_alert_before_they_approved(calm):
    messages = [message for message, _ in calm.messages]
    assert calm.case.id in orjson.dumps(messages).decode()
    assert len({uid for _, uid in calm.messages}) == len(messages), "nothing is sent twice"
    for tenant in TENANTS:
        assert named(tenant, messages), messages


def test_a_severity_set_by_a_person_is_published_and_notified(calm):
    alerts = {}
    for record in calm.chain.read(Channel.ALERTS):
        document = orjson.loads(record.value)
        if document["metadata"]["correlation_uid"] == calm.case.id:
            said = (dict(record.headers)["ce_severity"].decode(), document["severity"].lower())
            alerts.setdefault(document["metadata"]["tenant_uid"], []).append(said)
    assert set(alerts[USER][0]) != {"low"}
    assert set(alerts[USER][-1]) == {"low"}, "what came later has it as well"
    for tenant in {MAKER, HOST}:
        assert ("low", "low") not in alerts[tenant]
    messages = [message for message, _ in calm.messages]
    assert severities(USER, messages)[-1] == "low"
    assert "low" not in severities(HOST, messages)
    contained = {
        (command.spec.tenant, command.spec.action)
        for command in calm.contained.commands
        if command.state == "done"
    }
    for tenant in TENANTS:
        assert {action for whose, action in contained if whose == tenant} >= {
            "quarantine",
            "rollback",
        }


def test_a_responder_written_from_the_contract_contains_as_ours_does(calm):
    done = {action for action, _, status in calm.foreign if status == 200}
    assert done == {"capture-evidence", "quarantine", "rollback", "block"}
    assert {status for _, _, status in calm.foreign} == {200}
    states = {command.state for command in calm.contained.commands if command.spec.tenant == HOST}
    assert "done" in states
    assert states <= {"done", "advised"}


def test_results_close_the_loop_and_later_clean_events_close_the_case(calm):
    assert {command.state for command in calm.contained.commands} <= {"done", "advised"}
    actions = {
        (contained.spec.tenant, contained.spec.action) for contained in calm.contained.commands
    }
    for tenant in TENANTS:
        for action in ("capture-evidence", "quarantine", "rollback", "block"):
            assert (tenant, action) in actions
    assert calm.contained.status in {"contained", "recovering"}
    assert {task.state for task in calm.closed.tasks} == {"done"}
    assert all(task.proof for task in calm.closed.tasks)
    assert {part.status for part in calm.closed.tenants} == {"closed"}


def test_entry_point_was_closed_on_every_affected_system(calm):
    blocks = {
        contained.spec.command_id
        for contained in calm.contained.commands
        if contained.spec.action == "block"
    }
    patched = [task for task in calm.closed.tasks if task.kind == "patch"]
    assert {task.tenant for task in patched} == set(TENANTS)
    assert all(task.proof in blocks for task in patched)


def test_the_report_says_what_failed_what_to_change_and_what_was_learnt(calm):
    digest = digest_of(HOSTILE["pytorch_model.bin"])
    failed = {control.name: how for control, how in failed_controls(calm.closed)}
    assert "models are scanned before they are loaded" in failed
    changes = policy_changes(calm.closed)
    assert f"add sha256:{digest} to blocked_sources" in changes
    assert "add format_safety to required_checks" in changes
    assert any(f"'{digest}'" in rule for rule in rules_to_add(calm.closed))
    assert f"sha256:{digest}" in {fact.key for fact in learned_facts(calm.closed)}
    text = calm.report.replace("\\", "")
    for part in ("What happened", "To whom", "Runbook", "is in quarantine", "```text"):
        assert part in text
    for part in ("Controls", "Proposed detection rules", digest, "time to contain", "AML.M00"):
        assert part in text


def test_shared_bundle_is_valid_stix_and_names_no_tenant(calm):
    assert calm.shared
    # ids are derived, hence not of UUID version 4 (103); ATLAS is no vocabulary of STIX's own (302)
    options = ValidationOptions(version="2.1", strict=True, disabled="103,302", enforce_refs=True)
    for record in calm.shared:
        report = validate_string(record.value.decode(), options)
        assert report.is_valid, [str(error) for error in report.errors]
        for tenant in TENANTS:
            assert tenant.encode() not in record.value
    assert any(digest_of(HOSTILE["pytorch_model.bin"]).encode() in r.value for r in calm.shared)


def test_repeated_events_change_nothing(calm):
    """All were sent a second time, after the case was closed."""
    assert calm.case == msgspec.structs.replace(calm.closed, processing=calm.case.processing)


def _undecided(incident):
    """Leave out the ids of decisions: a person decided again, at another time."""
    timeline = [
        {**entry, "ref": None} if entry["what"] == "decided" else entry
        for entry in incident["timeline"]
    ]
    return {**incident, "timeline": sorted(timeline, key=orjson.dumps)}


def test_a_replay_with_constant_kills_ends_with_the_same_ids(calm, harassed):
    assert all(count == KILLS for count in harassed.chain.killed.values()), harassed.chain.killed
    one, other = calm.results, harassed.results
    assert other.findings == one.findings
    assert other.commands == one.commands
    assert other.alerts.keys() == one.alerts.keys()
    assert other.incidents.keys() == one.incidents.keys()
    kept, made = (_undecided(run.incidents[calm.case.id]) for run in (one, other))
    assert kept.keys() == made.keys()
    for part in kept:
        assert made[part] == kept[part], part
    assert other.alerts == one.alerts
    assert harassed.links == calm.links
    assert harassed.tree == calm.tree
    assert {record.key for record in harassed.shared} == {record.key for record in calm.shared}
