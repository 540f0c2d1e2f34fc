"""Values of a checkpoint are visited once each, however they are nested."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agents.checks.artifacts.pickle.hyper_parameters import KEY, report_instantiator
from agents.checks.artifacts.pickle.symbols import Mapping, StreamEnd
from agents.checks.artifacts.scanning import Budget, Scan


class Counted(Mapping):
    """A dictionary that counts how often it is gone through."""

    __slots__ = ("times",)

    def __init__(self, *values: Any) -> None:
        super().__init__(values)
        self.times = 0

    def __iter__(self) -> Iterator[Any]:
        self.times += 1
        return super().__iter__()

    def __contains__(self, value: object) -> bool:
        self.times += 1
        return super().__contains__(value)


def reported(result: object) -> list[str]:
    """Return what is said of a checkpoint with this value."""
    scan = Scan("hparams.pkl", lambda *_: None, Budget())
    report_instantiator(scan, {0: KEY}, StreamEnd(stopped=True, offset=1, result=result))
    return [detection.description for detection in scan.detections]


def test_self_referencing_value_is_visited_once() -> None:
    value = Counted("lr", 0.1)
    value.extend([value] * 1000)
    (what,) = reported(value)
    assert what == "loading the checkpoint calls a function that it names"
    assert value.times == 1


def test_values_behind_a_self_reference_are_found() -> None:
    value = Counted(KEY, "os.system")
    outer = Counted("hyper", value)
    outer.append(outer)
    (what,) = reported(outer)
    assert what == "loading the checkpoint calls 'os.system'"
