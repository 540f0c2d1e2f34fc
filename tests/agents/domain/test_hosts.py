"""Hosts are read as clients read them, and imitations are distinguished from relatives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agents.domain.hosts import (
    KNOWN_HOSTS,
    imitates,
    is_local,
    one_edit,
    read_address,
    without_credentials,
)
from tests.each import each

TRUSTED = ("data.acme.example", *KNOWN_HOSTS)


@each(
    ("url", "host", "oddities"),
    [
        ("https://data.acme.example/x", "data.acme.example", set()),
        ("HTTPS://Data.Acme.Example:443", "data.acme.example", set()),
        ("https://data.acme.example@evil.example/x", "evil.example", {"userinfo"}),
        ("https://a@b@evil.example/", "evil.example", {"userinfo"}),
        ("https://evil.example\\@data.acme.example/", "evil.example", {"malformed"}),
        ("https://data.acme.example./x", "data.acme.example", {"trailing-dot"}),
        ("https://data\u3002acme\uff0eexample/", "data.acme.example", {"idn"}),
        ("https://d\u0430ta.acme.example/", "d\u0430ta.acme.example", {"idn", "mixed-script"}),
        ("https://xn--80ak6aa92e.example/", "\u0430\u0440\u0440\u04cf\u0435.example", {"idn"}),
        ("https://127.0.0.1/x", "127.0.0.1", {"ip-literal"}),
        ("https://0x7f000001/x", "0x7f000001", {"ip-literal"}),
        ("https://[::1]/x", "[::1]", {"ip-literal"}),
        ("https://data.acme.example:8081/x", "data.acme.example", {"odd-port"}),
        ("https://da%74a.acme.example/x", "data.acme.example", {"malformed"}),
        ("https://data.ac\tme.example/x", "data.acme.example", {"malformed"}),
        ("s3://acme-data/x", "acme-data", set()),
        ("/data/x.csv", "", set()),
        ("reviews", "", set()),
    ],
)
def test_a_url_is_read_as_the_most_lenient_fetcher_would(url, host, oddities):
    address = read_address(url)
    assert address.host == host
    assert set(address.oddities) == oddities


@each(
    ("host", "imitated"),
    [
        ("d\u0430ta.acme.example", "data.acme.example"),
        ("hugingface.co", "huggingface.co"),
        ("huggingface.co.evil.example", "huggingface.co"),
        ("cdn.hugingface.co", "huggingface.co"),
        ("hugg1ngface.co", "huggingface.co"),
        ("g\u03b9thub.com", "github.com"),
        ("glthub.com", "github.com"),
        ("huggingface-co.evil.example", "huggingface.co"),
        ("data.acrne.example", "data.acme.example"),
        ("cdn-lfs.huggingface.co", None),
        ("data2.acme.example", None),
        ("huggingface.co", None),
        ("example.com", None),
        ("hub.docker.com", None),
        ("", None),
    ],
)
def test_imitations_are_distinguished_from_relatives(host, imitated):
    assert imitates(host, TRUSTED) == imitated


@given(st.text(alphabet="abc", max_size=6), st.text(alphabet="abc", max_size=6))
def test_one_edit_is_symmetric_and_not_reflexive(left, right):
    assert one_edit(left, right) == one_edit(right, left)
    assert not one_edit(left, left)


@given(st.text(max_size=80), st.sampled_from(["", "https://", "s3://", "http://u:p@", "//"]))
def test_any_text_parses_as_a_location(text, prefix):
    address = read_address(prefix + text)
    assert address.host == address.host.lower() or not address.host.isascii()
    imitates(address.host, TRUSTED)
    assert len(without_credentials(prefix + text)) <= 300


def test_evidence_shows_no_credentials():
    shown = without_credentials("https://user:tR7kLq9v@d.example/x?sig=abc")
    assert shown == "https://…@d.example/x?…"


@each(
    ("url", "local"),
    [
        ("http://localhost:9000/x", True),
        ("http://data.localhost/x", True),
        ("http://127.0.0.1:8080/x", True),
        ("http://[::1]:8080/x", True),
        ("http://10.2.3.4/x", True),
        ("http://172.20.0.2/x", True),
        ("http://192.168.1.9/x", True),
        ("http://[fd00::1]/x", True),
        ("http://minio:9000/bucket", True),
        ("http://minio.data.svc.cluster.local/bucket", True),
        ("http://minio.data.svc/bucket", True),
        ("http://host.docker.internal/x", True),
        ("http://172.32.0.2/x", False),
        ("http://169.254.169.254/latest/meta-data", False),
        ("http://0x7f000001/x", False),
        ("http://2130706433/x", False),
        ("http://127.1/x", False),
        ("http://data.acme.example/x", False),
        ("http://localhost.evil.example/x", False),
        ("http://svc.evil.example/x", False),
        ("http://loc\u0430lhost/x", False),
        ("s3://bucket/x", False),
        ("/data/x.csv", False),
    ],
)
def test_local_hosts_are_distinguished_from_imitations(url, local):
    assert read_address(url).local is local


@given(st.text(max_size=40))
def test_any_text_is_local_or_not(text):
    assert is_local(text) in {True, False}
