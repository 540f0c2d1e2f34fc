"""External text is shown plain: no links, mentions or styles."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.notification.plain_text import plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see https://evil.example.com/a?b", "see hxxps[://]evil.example[.]com/a?b"),
        ("s3://bucket/key and git+ssh://h/x", "s3[://]bucket/key and git+ssh[://]h/x"),
        ("beacon to 203.0.113.7:4444", "beacon to 203[.]0[.]113[.]7:4444"),
        ("calls home.evil.com", "calls home.evil[.]com"),
        ("posix.system in weights/pytorch_model.bin", "posix.system in weights/pytorch_model.bin"),
        ("torch 2.9.0", "torch 2.9.0"),
        ("a\nb\r\n\tc", "a b c"),
        ("a\x1b[2Jb", "a(U+001B)[2Jb"),
        ("model\u202egpj.exe", "model(U+202E)gpj.exe"),
        ("@everyone @here", "[@]everyone [@]here"),
        ("me@acme", "me@acme"),
        ("<!channel> <b>", "\u2039!channel\u203a \u2039b\u203a"),
        ("[click](x)", "[click] (x)"),
        ("__init__ and a_b", "ˍˍinitˍˍ and a_b"),
    ],
)
def test_text_from_outside_is_plain(text, shown):
    assert plain(text, 200) == shown


def test_a_long_text_is_cut_and_says_so():
    assert plain("a" * 50, 10) == "aaaaaaaaa…"


@given(st.text(max_size=300), st.integers(10, 100))
def test_no_text_keeps_a_link_a_mention_or_a_control(text, limit):
    shown = plain(f"{text}://x @{text} <{text}>", limit)
    assert "://" not in shown.replace("[://]", "")
    assert not re.search(r"(?<!\w)@\w", shown)
    assert not set(shown) & set("<>`*~|&\\\n\r\t\x00\x1b")
    assert shown.isprintable()


@given(st.ip_addresses(v=4).map(str))
def test_no_address_can_be_followed(address):
    assert address not in plain(f"to {address} now", 200)
