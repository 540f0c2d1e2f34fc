"""Checks the decision trees of boosters against their own bounds, by which loaders index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from agents.checks.artifacts.scanning import CorruptFileError, Scan

MAX_TREES: Final = 200_000
XGBOOST_KEYS: Final = frozenset(("left_children", "right_children", "split_indices"))
Numbers = Sequence[int]


def judge_tree(
    scan: Scan,
    left: Numbers,
    right: Numbers,
    split: Numbers,
    *,
    features: int,
    leaves: int | None = None,
    name: str,
) -> None:
    """Report children and features outside a tree, and nodes that are reached twice.

    Args:
        scan: Where to report.
        left: Left child of each node.
        right: Right child of each node.
        split: Feature that each node asks for.
        features: How many there are, 0 when the model does not say.
        leaves: How many leaves there are, when negative children are leaves (LightGBM); None when
            -1 marks a leaf (XGBoost).
        name: The tree's name in the evidence.

    Raises:
        CorruptFileError: the arrays differ in length.
    """
    count = len(left)
    if len(right) != count or len(split) != count:
        raise CorruptFileError(f"the arrays of {name} differ in length")
    seen: set[int] = set()
    pending = [0] if count else []
    while pending:
        node = pending.pop()
        scan.budget.step(1)
        if node in seen:
            _report(scan, name, f"node {node} is reached twice")
            return
        seen.add(node)
        children = (left[node], right[node])
        if leaves is None and children == (-1, -1):
            continue
        for child in children:
            inside = 0 <= child < count or (leaves is not None and 0 <= ~child < leaves)
            if not inside:
                _report(scan, name, f"node {node} has the child {child} of {count}")
                return
        pending.extend(child for child in children if child >= 0)
        if split[node] < 0 or (features and split[node] >= features):
            _report(scan, name, f"node {node} asks for feature {split[node]} of {features}")
            return


def _report(scan: Scan, name: str, what: str) -> None:
    scan.report("TW-MODEL-BOOSTER-BOUNDS", f"{name}: {what}", key=name)


def report_xgboost(scan: Scan, document: Mapping[str, Any]) -> None:
    """Judge the trees of an XGBoost model in JSON.

    Raises:
        CorruptFileError: the arrays of a tree differ in length, or hold no numbers.
    """
    learner = document.get("learner")
    if not isinstance(learner, dict):
        return
    parameters = learner.get("learner_model_param")
    features = number(parameters.get("num_feature")) if isinstance(parameters, dict) else 0
    booster = learner.get("gradient_booster")
    if isinstance(booster, dict) and isinstance(booster.get("gbtree"), dict):
        booster = booster["gbtree"]  # of a dart booster
    model = booster.get("model") if isinstance(booster, dict) else None
    trees = model.get("trees") if isinstance(model, dict) else None
    for index, tree in enumerate(
        scan.first(trees, MAX_TREES, "trees") if isinstance(trees, list) else []
    ):
        if not isinstance(tree, dict):
            raise CorruptFileError(f"tree {index} is not an object")
        arrays = [tree.get(key) for key in ("left_children", "right_children", "split_indices")]
        if any(array is None for array in arrays):
            continue
        judge_tree(scan, *(_numbers(array, index) for array in arrays),
                   features=features, name=f"tree {index}")  # fmt: skip


def _numbers(array: object, index: int) -> list[int]:
    if not isinstance(array, list) or not all(isinstance(item, int) for item in array):
        raise CorruptFileError(f"tree {index} has an array without numbers")
    return array


def number(text: object) -> int:
    """Return a count written as text or number, 0 if it is neither."""
    if isinstance(text, int):
        return max(text, 0)
    shown = str(text).strip()[:30]
    return int(shown) if shown.isdigit() else 0
