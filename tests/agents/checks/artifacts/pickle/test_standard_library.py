"""Plain data of the standard library, which its own pickler writes, and its functions that run."""

from __future__ import annotations

import calendar
import configparser
import decimal
import itertools
import pickle
import urllib.parse
from datetime import datetime

import pytest

from agents.checks.artifacts.dispatch import scan_source
from agents.checks.artifacts.scanning import BytesSource
from schemas.severity import Verdict
from tests.corpus.assembly import call


def verdict(raw):
    return scan_source("a.pkl", BytesSource(raw), frozenset()).verdict


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize(
    "value",
    [
        calendar.TextCalendar(),
        configparser.ConfigParser({"a": "1"}),
        datetime.fromisoformat,
        decimal.Context(prec=5),
        urllib.parse.urlparse("https://a.example/b?c#d"),
    ],
    ids=["calendar", "settings", "method", "context", "address"],
)
def test_plain_data_is_clean(value, protocol):
    assert verdict(pickle.dumps(value, protocol)) is Verdict.CLEAN


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize(
    "value", [itertools.repeat(1, 3), itertools.product([1], [2]), itertools.permutations([1, 2])]
)
def test_an_iterator_that_calls_nothing_is_suspicious(value, protocol):
    assert verdict(pickle.dumps(value, protocol)) is Verdict.SUSPICIOUS


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("itertools", "starmap"),
        ("itertools", "accumulate"),
        ("urllib.parse", "urlopen"),
        ("configparser", "ConfigParser.read"),
        ("decimal", "getcontext.__globals__"),
        ("calendar", "main"),
    ],
)
def test_what_calls_or_reads_is_malicious(module, name):
    assert verdict(call(module, name, "a")) is Verdict.MALICIOUS
