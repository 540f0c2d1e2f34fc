"""Fuzzes every parser of hostile bytes, each in a process of its own: `make fuzz`.

`python -m tests.fuzz [SECONDS] [NAME …]`: each target gets SECONDS (60), of random edits of samples
of its kind. A crash, a hang or too much memory is a defect; an error of ours says no and is not.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import random
import resource
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import orjson

from agents.checks.artifacts.containers.sevenzips import scan_7z
from agents.checks.artifacts.containers.tars import scan_tar
from agents.checks.artifacts.containers.zips import scan_zip
from agents.checks.artifacts.formats.numpy_arrays import scan_npy
from agents.checks.artifacts.formats.torchscript import scan_torchscript_code
from agents.checks.artifacts.pickle.streams import scan_pickle
from agents.checks.artifacts.scanning import Budget, BytesSource, Scan, Source
from agents.checks.packages.requirements import read_requirements
from agents.checks.packages.requirements_text import decode_requirements
from agents.checks.pipelines.configuration import config_hash, read_config
from agents.intelligence.osv import read_archive, read_single
from agents.intelligence.stix import read_bundle
from schemas.cloudevents import read_event
from schemas.documents.openc2 import read_command, read_response
from schemas.errors import TidewatchError
from streams.adapters import ADAPTERS, adapt
from tests.corpus import KINDS, samples
from tests.fuzz import formats
from tests.fuzz.artifacts import mutate
from tests.fuzz.costly import INPUTS
from tests.schemas.events import PACKAGE_INSTALL, PIPELINE_RUN, REGISTRY_PUSH

Target = Callable[[bytes], object]
MAX_SECONDS_OF_ONE = 20
MEMORY_BYTES = 2 << 30
MAX_SAMPLE = 100_000
COSTLY_BYTES = 4_000
AT_ONCE = 2
NOW = datetime(2026, 11, 20, tzinfo=UTC)


def _stay(scan: Scan, name: str, source: Source) -> None:
    """Descend nowhere: what is within is another target's."""


def _scan(parse: Callable[[Scan, Source], object], raw: bytes) -> None:
    parse(Scan("sample", _stay, Budget(1 << 26, 2_000_000)), BytesSource(raw))


def _event(raw: bytes) -> object:
    return read_event(raw, (), timestamp_ms=1_795_000_000_000, max_bytes=1 << 20)


def _config(raw: bytes) -> object:
    return config_hash(read_config(raw))


def _requirements(raw: bytes) -> object:
    return read_requirements(decode_requirements(raw))


def _adapter(kind: str, raw: bytes) -> object:
    return adapt(kind, raw, tenant="t", source="//s", system="h", time=NOW)


def targets() -> dict[str, Target]:
    """Return every parser of bytes from outside, by name."""
    containers: dict[str, Callable[[Scan, Source], object]] = {
        "pickle": partial(scan_pickle, expected=True),
        "npy": scan_npy,
        "tar": scan_tar,
        "7z": scan_7z,
        "torchscript": scan_torchscript_code,
        "zip": lambda scan, source: scan_zip(scan, "sample", source, source.read(0, 8192)),
    }
    return {
        **{name: partial(_scan, parse) for name, parse in containers.items()},
        **formats.TARGETS,
        **{f"adapter {kind}": partial(_adapter, kind) for kind in ADAPTERS},
        "event": _event,
        "pipeline config": _config,
        "requirements": _requirements,
        "osv archive": read_archive,
        "osv record": read_single,
        "stix bundle": read_bundle,
        "command": read_command,
        "response": read_response,
    }


def _files() -> list[bytes]:
    return [
        raw
        for kind in KINDS
        for _, content in samples(kind)
        for raw in ([content] if isinstance(content, bytes) else content.values())
        if len(raw) <= MAX_SAMPLE
    ] + [make(COSTLY_BYTES) for make in INPUTS.values()]


def _documents() -> list[bytes]:
    documents: list[Any] = [PACKAGE_INSTALL, PIPELINE_RUN, REGISTRY_PUSH]
    documents += [document["data"] for document in documents]
    return [
        *(orjson.dumps(document) for document in documents),
        b"numpy==2.0 --hash=sha256:00\n-e .\n-r other.txt\n",
        b'lock-version = "1.0"\n[[packages]]\nname = "a"\nversion = "1"\n',
    ]


def _seeds(name: str) -> Sequence[bytes]:
    of_files = name in {"pickle", "npy", "tar", "7z", "torchscript", "zip", "osv archive"}
    return _files() if of_files or name in formats.TARGETS else _documents()


def run(name: str, seconds: float, seed: int) -> str:
    """Fuzz one target in this process; return what to report, `ok …` when nothing was found."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    target, pool, rng = targets()[name], _seeds(name), random.Random(seed)
    count, deadline = 0, time.monotonic() + seconds
    while time.monotonic() < deadline:
        mutant = mutate(rng.choice(pool), rng, rng.choice(pool))
        faulthandler.dump_traceback_later(MAX_SECONDS_OF_ONE, exit=True)
        try:
            target(mutant)
        except TidewatchError:
            pass
        except BaseException:  # noqa: BLE001 -- whatever it is, it is the defect looked for
            return f"DEFECT seed {seed} mutant {mutant[:2000].hex()}\n{traceback.format_exc()}"
        finally:
            faulthandler.cancel_dump_traceback_later()
        count += 1
    return f"ok {count} mutants"


def _report(name: str, seconds: float, seed: int) -> None:
    result = run(name, seconds, seed)
    print(f"{name}: {result}", flush=True)
    sys.exit(not result.startswith("ok"))


def main() -> int:
    """Run all targets, or those named, some at a time; return how many failed."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    waiting = sys.argv[2:] or sorted(targets())
    context = multiprocessing.get_context("spawn")
    running: dict[str, Any] = {}
    failed: list[str] = []
    seed = int(time.time())
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            name = waiting.pop(0)
            running[name] = context.Process(target=_report, args=(name, seconds, seed))
            running[name].start()
        for name, process in list(running.items()):
            process.join(0.1)
            if process.exitcode is not None:
                del running[name]
                if process.exitcode:
                    failed.append(f"{name} (exit {process.exitcode})")
    print(f"seed {seed}: {len(failed)} failed {failed}")
    return len(failed)
