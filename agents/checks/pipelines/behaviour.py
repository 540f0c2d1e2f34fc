"""Evaluation results against their baseline."""

from __future__ import annotations

import math
import re
from typing import Final

import msgspec

from schemas.events import Evaluation

TOLERANCE: Final = 0.02
"""Tolerance relative to the baseline: repeated runs of one model differ by about this much."""
ABSOLUTE_TOLERANCE: Final = 0.005
"""Tolerance for baselines near zero."""
_LOWER_IS_BETTER: Final = re.compile(
    r"(?:^|[^a-z])(?:loss|perplexity|ppl|error|wer|cer|mse|rmse|mae|toxicity|harmful|hallucination|"
    r"attack[-_ ]?success|asr|latency|bias|leakage|jailbreak)(?:[^a-z]|$)"
)


class Regression(msgspec.Struct, frozen=True, kw_only=True):
    """An evaluation that fell below its baseline, or failed."""

    reason: str
    drop: float | None = None
    """How far beyond the baseline, in units of the score; positive is worse."""


def regression(evaluation: Evaluation) -> Regression | None:
    """Return the regression of an evaluation, None if there is none.

    For suites whose name implies that less is better (loss, error rate, toxicity), a rise counts.
    """
    drop: float | None = None
    score, baseline = evaluation.score, evaluation.baseline
    if score is not None and baseline is not None and math.isfinite(score + baseline):
        lower = _LOWER_IS_BETTER.search((evaluation.suite or "").lower()) is not None
        drop = score - baseline if lower else baseline - score
        if drop > max(abs(baseline) * TOLERANCE, ABSOLUTE_TOLERANCE):
            return Regression(reason="the score fell below its baseline", drop=round(drop, 6))
    if evaluation.passed is False:
        return Regression(reason="the suite failed", drop=None if drop is None else round(drop, 6))
    return None
