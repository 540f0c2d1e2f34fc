"""Plain data and running functions of the standard library in pickles."""

from __future__ import annotations

import ast
import calendar
import configparser
import decimal
import email
import email.message
import email.policy
import http
import itertools
import json
import logging
import operator
import pickle
import sys
import textwrap
import urllib.parse
import warnings
import xml.dom.minidom
import xml.etree.ElementTree as ET
import zipfile
from collections import deque
from datetime import datetime
from pathlib import Path

import msgspec
import pytest

from agents.checks.artifacts.dispatch import scan_source
from agents.checks.artifacts.scanning import BytesSource
from schemas.severity import Verdict
from tests.corpus.assembly import call
from tests.corpus.standard_library import OUTPUT, found

WRITTEN_ON = (3, 11)


def letter():
    made = email.message.EmailMessage()
    made["Subject"] = "a subject"
    made["To"] = "A <a@b.example>"
    made.set_content("a text")
    return made


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
    "value",
    [
        letter(),
        email.message_from_string("Subject: a\n\nb"),
        email.message_from_string("Subject: a\n\nb", policy=email.policy.default),
        ET.fromstring("<a b='c'>d<e/></a>"),
        xml.dom.minidom.parseString("<a>b</a>"),
        logging.makeLogRecord({"msg": "a"}),
        zipfile.ZipInfo("a"),
        zipfile.BadZipFile("a"),
        json.JSONDecodeError("a", "b", 0),
        Path("/").stat(),
        http.HTTPStatus(200),
        textwrap.TextWrapper(),
        ast.parse("a = 1"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_classes_of_data_are_clean(value, protocol):
    assert verdict(pickle.dumps(value, protocol)) is Verdict.CLEAN


def pickled(value, protocol):
    """Return an iterator's pickle; Python 3.12 warns that 3.14 writes none of itertools."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return pickle.dumps(value, protocol)
        except TypeError as error:
            pytest.skip(f"this Python writes none: {error}")


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize(
    "value",
    [
        iter([1, 2]),
        iter("ab"),
        iter({1: 2}),
        iter(deque([1])),
        itertools.islice([1, 2, 3], 2),
        itertools.accumulate([1, 2]),
        itertools.accumulate([1, 2], operator.mul),
        itertools.chain([1], [2]),
        enumerate([1]),
        reversed([1, 2]),
    ],
)
def test_an_iterator_over_plain_data_is_clean(value, protocol):
    assert verdict(pickled(value, protocol)) is Verdict.CLEAN


def test_an_iterator_over_a_deque_is_clean_by_its_name_since_python_3_12():
    raw = pickle.dumps(iter(deque([1])), 2).replace(b"c_collections\n", b"ccollections\n")
    assert b"ccollections\n_deque_iterator\n" in raw
    assert verdict(raw) is Verdict.CLEAN


def test_an_iterator_that_calls_is_not_clean():
    assert verdict(pickled(itertools.accumulate([1], print), 4)) is Verdict.MALICIOUS
    assert verdict(pickle.dumps(iter(int, 1))) is Verdict.SUSPICIOUS


def test_pickled_email_header_of_another_class_is_malicious():
    raw = pickle.dumps(letter()).replace(b"UniqueUnstructuredHeader", b"UniqueUnstructuredReader")
    assert verdict(raw) is Verdict.MALICIOUS


@pytest.mark.skipif(sys.version_info[:2] != WRITTEN_ON, reason="another release of Python")
def test_generated_table_is_current():
    """A patch release, or a distribution's, may add a few names: unlisted ones are unsupported."""
    held = msgspec.json.decode(OUTPUT.read_bytes(), type=dict[str, dict[str, set[str]]])
    ours = {
        (module, use, name)
        for module, uses in found().items()
        for use, names in uses.items()
        for name in names
    }
    listed = {
        (module, use, name)
        for module, uses in held.items()
        for use, names in uses.items()
        for name in names
    }
    here = {(module, name) for module, _, name in ours}
    assert {entry for entry in listed if (entry[0], entry[2]) in here} <= ours
    assert len(ours - listed) * 50 < len(ours)


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize(
    "value", [itertools.repeat(1, 3), itertools.product([1], [2]), itertools.permutations([1, 2])]
)
def test_an_iterator_that_calls_nothing_is_suspicious(value, protocol):
    assert verdict(pickled(value, protocol)) is Verdict.SUSPICIOUS


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("itertools", "starmap"),
        ("itertools", "accumulate"),
        ("urllib.parse", "urlopen"),
        ("configparser", "ConfigParser.read"),
        ("decimal", "getcontext.__globals__"),
        ("calendar", "main"),
        ("socket", "socket"),
        ("zipfile", "ZipFile"),
        ("email.utils", "localtime"),
        ("urllib.request", "Request.full_url.fset"),
        ("os", "stat_result.__class__"),
    ],
)
def test_functions_that_call_or_read_are_malicious(module, name):
    assert verdict(call(module, name, "a")) is Verdict.MALICIOUS
