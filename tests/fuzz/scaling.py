"""Measures how the time of a scan grows with its input: python -m tests.fuzz.scaling [NAME …].

Every costly input is made in doubling sizes, 10 kB to 10 MB, until one takes longer than a few
seconds. Times depend on the machine, so this reports; tests count work instead.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence
from types import FrameType

from agents.checks.artifacts.dispatch import scan_source
from agents.checks.artifacts.scanning import BytesSource
from tests.fuzz.costly import INPUTS

SMALLEST, LARGEST = 10_000, 10_240_000
MAX_SECONDS = 30.0
LEAST = 0.05
"""Seconds below which a measurement says nothing about growth."""
MOST_GROWTH = 3.0
"""Of a doubling, with room for noise; what is quadratic makes it four."""


class _TooLongError(BaseException):
    """A scan takes longer than is waited for."""


def growth(times: Sequence[float]) -> float:
    """Return by how much each doubling multiplied the time, on average.

    Args:
        times: Of the scans of two inputs or more, each twice as large as the one before.
    """
    return float((times[-1] / times[0]) ** (1 / (len(times) - 1)))


def measure(name: str) -> list[float]:
    """Return the processor time of the scans of one input, size by size; inf for one too long."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _TooLongError

    signal.signal(signal.SIGPROF, stop)
    times: list[float] = []
    size = SMALLEST
    while size <= LARGEST:
        raw = INPUTS[name](size)
        signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS, 1.0)
        began = time.process_time()
        try:
            scan_source(name, BytesSource(raw), second_opinion=True)
            times.append(time.process_time() - began)
        except _TooLongError:
            return [*times, float("inf")]
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        if times[-1] > MAX_SECONDS / 3:
            break
        size *= 2
    return times


def main() -> int:
    """Measure all inputs, or those named; return how many grow faster than they may."""
    steep = 0
    for name in sys.argv[1:] or INPUTS:
        times = measure(name)
        counted = [seconds for seconds in times if seconds >= LEAST]
        grown = growth(counted) if len(counted) > 1 else 0.0
        steep += grown > MOST_GROWTH
        shown = " ".join(f"{seconds:.2f}" for seconds in times)
        print(
            f"{'STEEP' if grown > MOST_GROWTH else 'ok':5} {name:26} x{grown:.1f}  {shown}",
            flush=True,
        )
    return steep


if __name__ == "__main__":
    sys.exit(main())
