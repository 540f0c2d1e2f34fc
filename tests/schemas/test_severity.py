"""Ranked names: how they compare, and which of a later version are still read."""

from __future__ import annotations

import msgspec
import pytest

from schemas.severity import ExposureLevel, IndicatorStatus, Severity, Status

DECODERS = {kind: msgspec.json.Decoder(kind) for kind in (ExposureLevel, IndicatorStatus, Severity)}


@pytest.mark.parametrize("kind", [ExposureLevel, Severity, Status])
def test_ranks_follow_the_order_of_the_names(kind):
    assert [name.rank for name in kind] == list(range(len(kind)))


def test_a_level_of_exposure_of_a_later_version_counts_as_delivered():
    assert DECODERS[ExposureLevel].decode(b'"attested"') is ExposureLevel.DELIVERED
    assert DECODERS[ExposureLevel].decode(b'"serving"') is ExposureLevel.SERVING


@pytest.mark.parametrize(
    ("kind", "raw"),
    [(ExposureLevel, b"3"), (IndicatorStatus, b'"gone"'), (Severity, b'"fatal"')],
)
def test_unknown_value_with_effect_is_refused(kind, raw):
    with pytest.raises(msgspec.ValidationError):
        DECODERS[kind].decode(raw)
