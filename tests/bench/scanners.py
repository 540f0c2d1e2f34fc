"""Compares Tidewatch's scanner with fickling, picklescan, modelscan and modelaudit, in one run.

`make bench`, or `python -m tests.bench.scanners`: the other scanners are installed from the
hash-locked `locks/scanners.lock` into an environment of their own. Every contestant is one process
that gets all files, and says of each: critical, warn, clean or error. What is printed: detection
and false alarms on the corpus, processor time and peak memory on it and on single files; then, for
each of these files, Tidewatch's processor time beside that of picklescan, the quickest of the
others, with least and most of several runs. What else the machine does changes the time on the
clock, and processor time by half at most.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import os
import pickle
import resource
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / ".venv" / "scanners" / "bin" / "python"

KINDS = ("hostile", "harmless", "damaged")
LEVELS = ("clean", "error", "warn", "critical")
MIB = 1 << 20

TIDEWATCH = """
import sys
sys.path.insert(0, {root!r})
from agents.checks.artifacts.files import scan_descriptor
from pathlib import Path
WORD = {{"malicious": "critical", "suspicious": "warn", "clean": "clean", "corrupt": "error",
        "incomplete": "error", "unsupported": "error"}}
KINDS = {kinds!r}
def judge(path):
    # As if a sample's own folder had been scanned: the files beside it count.
    path = Path(path)
    root = next((folder for folder in path.parents if folder.parent.name in KINDS), None)
    beside = root.rglob("*") if root else ()
    siblings = frozenset(file.relative_to(root).as_posix() for file in beside)
    name = path.relative_to(root or path.parent).as_posix()
    with path.open("rb") as file:
        report = scan_descriptor(file.fileno(), name, siblings)
    return WORD[str(report.verdict)]
"""
FICKLING = """
import fickling, io
from fickling.fickle import StackedPickle
from fickling.analysis import check_safety, Severity
import zipfile
def streams(path):
    raw = open(path, "rb").read()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith((".pkl", ".pickle", ".bin")): yield archive.read(name)
    else:
        yield raw
def judge(path):
    worst = "clean"
    for raw in streams(path):
        for stacked in StackedPickle.load(io.BytesIO(raw), fail_on_decode_error=False):
            severity = check_safety(stacked).severity
            if severity >= Severity.LIKELY_OVERTLY_MALICIOUS: return "critical"
            if severity > Severity.LIKELY_SAFE: worst = "warn"
    return worst
"""
PICKLESCAN = """
from picklescan.scanner import scan_file_path, SafetyLevel
def judge(path):
    result = scan_file_path(path)
    if result.infected_files: return "critical"
    if result.scan_err: return "error"
    if any(imported.safety == SafetyLevel.Suspicious for imported in result.globals): return "warn"
    return "clean"
"""
MODELSCAN = """
from modelscan.modelscan import ModelScan
def judge(path):
    result = ModelScan().scan(path)
    counts = result["summary"]["total_issues_by_severity"]
    if counts.get("CRITICAL"): return "critical"
    if sum(counts.values()): return "warn"
    return "error" if result["errors"] else "clean"
"""
MODELAUDIT = """
import os
os.environ["PROMPTFOO_DISABLE_TELEMETRY"] = os.environ["NO_ANALYTICS"] = "1"
from modelaudit.core import scan_model_directory_or_file
def judge(path):
    result = scan_model_directory_or_file(path, cache_enabled=False)
    words = {str(getattr(issue.severity, "value", issue.severity)) for issue in result.issues}
    if "critical" in words: return "critical"
    if "warning" in words: return "warn"
    return "clean" if result.success else "error"
"""
LOOP = """
import json, sys, contextlib
out = sys.stdout
sys.stdout = sys.stderr
for line in sys.stdin:
    path = line.rstrip("\\n")
    try:
        with contextlib.redirect_stdout(sys.stderr): word = judge(path)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt): raise
        word = "error"
    out.write(json.dumps([path, word]) + "\\n")
    out.flush()
# Of this program alone: getrusage's figure includes the benchmark that started it.
with open("/proc/self/status") as status:
    peak = next(line.split()[1] for line in status if line.startswith("VmHWM"))
out.write(json.dumps(["peak", int(peak)]) + "\\n")
"""
CONTESTANTS = {
    "tidewatch": TIDEWATCH.format(root=str(ROOT), kinds=KINDS),
    "fickling": FICKLING,
    "picklescan": PICKLESCAN,
    "modelscan": MODELSCAN,
    "modelaudit": MODELAUDIT,
}
OWN_ENVIRONMENT = frozenset({"tidewatch", "fickling"})
SAMPLED = {"modelaudit": 12}
"""Who gets each n-th sample only, by default: a second or so per file would be a quarter hour."""


def samples(kind: str) -> Iterator[tuple[str, bytes | dict[str, bytes]]]:
    """Yield the samples of a kind from every module of the corpus."""
    for file in sorted((ROOT / "tests" / "corpus").glob("*.py")):
        module = importlib.import_module(f"tests.corpus.{file.stem}")
        for name, raw in getattr(module, kind, list)():
            yield f"{file.stem}-{name}", raw


def write_corpus(folder: Path, every: int) -> dict[str, dict[str, list[Path]]]:
    """Write each `every`-th sample; return kind, sample, files."""
    written: dict[str, dict[str, list[Path]]] = {}
    for kind in KINDS:
        written[kind] = {}
        for number, (name, raw) in enumerate(samples(kind)):
            if number % every:
                continue
            parts = raw if isinstance(raw, dict) else {name.rpartition("-")[2]: raw}
            files = []
            for part, content in parts.items():
                path = folder / kind / str(number) / part
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                files.append(path)
            written[kind][f"{number}-{name}"] = files
    return written


def single_files(folder: Path) -> dict[str, Path]:
    """Write a 200 MB PyTorch checkpoint, a sparse 500 MB safetensors file, and a small pickle."""
    checkpoint = folder / "checkpoint.pt"
    count = 50
    size = 4 * MIB

    body = io.BytesIO()
    pickle.Pickler(body, protocol=2).dump({f"layer.{i}.weight": i for i in range(count)})
    with zipfile.ZipFile(checkpoint, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", body.getvalue())
        archive.writestr("archive/version", "3\n")
        for number in range(count):
            archive.writestr(f"archive/data/{number}", os.urandom(1024) * (size // 1024))
    weights = folder / "model.safetensors"
    total = 500 * MIB
    header = json.dumps({"w": {"dtype": "F32", "shape": [total // 4], "data_offsets": [0, total]}})
    with weights.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header.encode())
        file.truncate(8 + len(header) + total)
    small = folder / "model.pkl"
    small.write_bytes(pickle.dumps({"layers": [1.0] * 30, "name": "model"}))
    return {"200 MB torch": checkpoint, "500 MB safetensors": weights, "small pickle": small}


def run(name: str, python: Path, files: list[Path]) -> tuple[dict[str, str], float, float]:
    """Return what a contestant says of each file, its processor time (s) and peak memory (MiB)."""
    program = CONTESTANTS[name] + LOOP
    interpreter = sys.executable if name in OWN_ENVIRONMENT else str(python)
    with tempfile.TemporaryDirectory() as folder:
        listing = Path(folder, "files")
        listing.write_text("".join(f"{path}\n" for path in files))
        answers = Path(folder, "answers")
        before = _spent()
        with listing.open() as given, answers.open("w") as out:
            subprocess.run(
                [interpreter, "-c", program],
                stdin=given,
                stdout=out,
                stderr=subprocess.DEVNULL,
                cwd=folder,
                check=False,
            )
        spent = _spent() - before
        found = dict(json.loads(line) for line in answers.read_text().splitlines())
    return found, spent, int(found.pop("peak", 0)) / 1024


def _spent() -> float:
    """Return the processor time of all processes that this one has started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def share(words: list[str], *levels: str) -> str:
    """Return how many of `words` are one of `levels`, as a percentage."""
    if not words:
        return "-"
    return f"{100 * sum(word in levels for word in words) / len(words):.1f} %"


def main() -> None:
    """Run all contestants and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--python", type=Path, default=ENVIRONMENT, help="of the environment of the other scanners"
    )
    parser.add_argument("--only", nargs="*", default=list(CONTESTANTS), help="contestants")
    parser.add_argument("--every", type=int, help="take each n-th sample only")
    parser.add_argument("--runs", type=int, default=5, help="of each single file")
    options = parser.parse_args()
    if not options.python.exists() and not OWN_ENVIRONMENT.issuperset(options.only):
        sys.exit("the other scanners are not there: `make bench` installs them")
    print(
        "| | hostile critical | hostile warned | hostile clean | harmless critical | "
        "harmless warned | damaged clean | corpus CPU s | corpus MiB | torch CPU s | "
        "torch MiB | safetensors CPU s | safetensors MiB | pickle CPU s | pickle MiB |"
    )
    print("|---" * 15 + "|")
    times: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        single = single_files(Path(name))
        for contestant in options.only:
            every = options.every or SAMPLED.get(contestant, 1)
            corpus = write_corpus(Path(name, str(every)), every)
            everything = [f for kind in KINDS for files in corpus[kind].values() for f in files]
            found, spent, memory = run(contestant, options.python, everything)
            words = {
                kind: [
                    max((found.get(str(f), "error") for f in files), key=LEVELS.index)
                    for files in corpus[kind].values()
                ]
                for kind in KINDS
            }
            cells = [
                share(words["hostile"], "critical"),
                share(words["hostile"], "critical", "warn"),
                share(words["hostile"], "clean"),
                share(words["harmless"], "critical"),
                share(words["harmless"], "critical", "warn"),
                share(words["damaged"], "clean"),
                f"{spent:.2f}",
                f"{memory:.0f}",
            ]
            taken = times[contestant] = {"corpus": [spent]}
            for what, path in single.items():
                runs = [run(contestant, options.python, [path]) for _ in range(options.runs)]
                taken[what] = [spent for _, spent, _ in runs]
                cells += [f"{min(taken[what]):.2f}", f"{runs[0][2]:.0f}"]
            counts = ", ".join(f"{len(corpus[kind])} {kind}" for kind in KINDS)
            print(f"| {contestant} ({counts}) | " + " | ".join(cells) + " |", flush=True)
    if {"tidewatch", "picklescan"} <= times.keys():
        print("\n" + "\n".join(beside(times["tidewatch"], times["picklescan"])))


def beside(ours: dict[str, list[float]], theirs: dict[str, list[float]]) -> list[str]:
    """Return the table of two contestants' processor times (s), by file."""
    lines = [
        "| CPU s, least to most | tidewatch | picklescan | ratio of the least |",
        "|---" * 4 + "|",
    ]
    for what, taken in ours.items():
        other = theirs[what]
        spans = [f"{min(times):.2f} to {max(times):.2f}" for times in (taken, other)]
        lines.append(f"| {what} | {' | '.join(spans)} | {min(taken) / min(other):.1f} |")
    return lines


if __name__ == "__main__":
    main()
