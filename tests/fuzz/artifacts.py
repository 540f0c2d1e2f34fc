"""Mutates the corpus and scans what comes out: python -m tests.fuzz.artifacts [SECONDS] [SEED].

A parser's own error reads as `the parser failed`; here it is a defect, as is a scan that takes
longer or more memory than it may.
"""

from __future__ import annotations

import random
import resource
import sys
import time

from agents.checks.artifacts.dispatch import scan_source
from agents.checks.artifacts.scanning import Budget, BytesSource
from tests.corpus import KINDS, samples
from tests.fuzz.costly import INPUTS

MAX_SECONDS = 20.0
MAX_MEMORY_KB = 1 << 20
MAX_SAMPLE = 200_000
COSTLY_BYTES = 4_000
TOKENS = (
    b"\x80\x04",
    b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"cos\nsystem\n", b"\xff\xff\xff\xff",
    b"\0\0\0\0", b"\x93NUMPY", b"\x1f\x8b\x08", b"7z\xbc\xaf\x27\x1c", b"{'descr': '|O'}",
    b"\x95", b"(" * 50,
)  # fmt: skip


def mutate(raw: bytes, rng: random.Random, other: bytes) -> bytes:
    """Return bytes with a few random edits."""
    out = bytearray(raw)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(out) + 1)
        match rng.randrange(7):
            case 0:
                out[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                out[at:at] = rng.choice(TOKENS)
            case 2:
                del out[at : at + rng.randint(1, 64)]
            case 3:
                out[at:at] = out[at : at + rng.randint(1, 256)]
            case 4:
                begin = rng.randrange(len(other) + 1)
                out[at:at] = other[begin : begin + 256]
            case 5:
                width = rng.choice((1, 2, 4, 8))
                out[at : at + width] = rng.randrange(1 << (8 * width)).to_bytes(width, "little")
            case 6:
                del out[at:]
    return bytes(out)


def fuzz(seconds: float, seed: int) -> int:
    """Scan mutants for some seconds; return how many there were.

    Raises:
        AssertionError: a parser failed, or a limit was not kept; the message repeats the mutant.
    """
    rng = random.Random(seed)
    pool = [
        (name.rsplit("/", 1)[-1], raw)
        for kind in KINDS
        for name, content in samples(kind)
        for raw in ([content] if isinstance(content, bytes) else content.values())
        if len(raw) <= MAX_SAMPLE
    ]
    pool += [(name, make(COSTLY_BYTES)) for name, make in INPUTS.items()]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    count, deadline = 0, time.monotonic() + seconds
    while time.monotonic() < deadline:
        name, raw = rng.choice(pool)
        mutant = mutate(raw, rng, rng.choice(pool)[1])
        started = time.monotonic()
        report = scan_source(name, BytesSource(mutant), budget=Budget(64 << 20, 2_000_000))
        count += 1
        what = f"seed {seed}, {name}: {mutant[:2000].hex()}"
        assert not any("the parser failed" in reason for reason in report.reasons), (
            report.reasons,
            what,
        )
        assert time.monotonic() - started < MAX_SECONDS, what
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < MAX_MEMORY_KB, f"{grown} KB"
    return count


if __name__ == "__main__":
    length = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    start = int(sys.argv[2]) if len(sys.argv) > 2 else int(time.time())
    print(f"{fuzz(length, start)} mutants in {length:g} s, seed {start}: no parser failed")
