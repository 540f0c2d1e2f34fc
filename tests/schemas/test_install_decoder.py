"""Package installs decode as `PackageInstall` says, equal packages to one object."""

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import PackageInstall
from schemas.install_decoder import ITEM_LIMIT, InstallDecoder

TORCH = {"name": "torch", "version": "2.9.0", "hashes": {"sha256": "a" * 64}}
NUMPY = {"name": "numpy", "version": "2.4.6", "requested": True}

_texts = st.sampled_from(["", "torch", "x" * 2049, "é", "a\x00b"])
_numbers = st.integers(-5, 5)
_packages = st.fixed_dictionaries(
    {},
    optional={
        "name": _texts,
        "version": st.none() | _texts,
        "hashes": st.dictionaries(_texts, _texts | _numbers, max_size=2),
        "requested": st.booleans() | st.just("yes"),
        "uploaded_at": st.sampled_from(["2026-11-20T08:00:00Z", "yesterday"]),
        "attestations": st.lists(st.dictionaries(_texts, _numbers, max_size=1), max_size=2),
        "unknown": _numbers,
    },
)
_installs = st.fixed_dictionaries(
    {},
    optional={
        "ecosystem": _texts | _numbers,
        "installer": st.dictionaries(st.sampled_from(["name", "version"]), _texts),
        "system": st.none() | _texts,
        "image": _texts,
        "environment": st.dictionaries(st.sampled_from(["platform"]), _texts),
        "index_url": _texts,
        "extra_index_urls": st.lists(_texts, max_size=2),
        "batch": st.dictionaries(st.sampled_from(["part", "parts"]), st.integers(0, 3)),
        "packages": st.lists(_packages | st.just(TORCH), max_size=4) | _texts,
        "requirements": st.lists(_texts, max_size=2),
        "lock": st.dictionaries(_texts, st.lists(_texts, max_size=2), max_size=2),
        "identities": st.lists(_texts, max_size=2),
        "unknown": _numbers,
    },
)


def _decoded(decoder, raw):
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return type(error), str(error)


@given(st.lists(_installs, max_size=4), st.sampled_from([0, 100, 1 << 20]))
def test_every_install_decodes_as_its_type_says_and_fails_with_the_same_words(installs, limit):
    remembering, plain = InstallDecoder(limit), msgspec.json.Decoder(PackageInstall)
    for install in (*installs, *installs):
        raw = orjson.dumps(install)
        assert _decoded(remembering, raw) == _decoded(plain, raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b'{"packages": [',
        b'{"packages": [{"name": "a"} {"name": "b"}]}',
        b'{"packages": [{"name": "\xff"}]}',
        b'{"packages": [' + b'{"name":"a"},' * 20_000 + b'{"name":"a"}]}',
    ],
)
def test_text_that_is_no_install_fails_with_the_same_words(raw):
    plain = msgspec.json.Decoder(PackageInstall)
    failed = _decoded(InstallDecoder(), raw)
    assert isinstance(failed, tuple)
    assert failed == _decoded(plain, raw)


def test_equal_packages_of_two_installs_are_one_object():
    decoder = InstallDecoder()
    first = decoder.decode(orjson.dumps({"system": "a", "packages": [TORCH, NUMPY]}))
    second = decoder.decode(orjson.dumps({"system": "b", "packages": [NUMPY, TORCH]}))
    assert second.packages[0] is first.packages[1]
    assert second.packages[1] is first.packages[0]


def test_what_is_remembered_is_bounded_and_the_last_used_is_kept():
    size = len(orjson.dumps(TORCH))
    decoder = InstallDecoder(limit=3 * size)

    def package(name):
        return decoder.decode(orjson.dumps({"packages": [{**TORCH, "name": name}]})).packages[0]

    torch = package("torch")
    for number in range(10):
        package(f"fill{number}"[:5])
        assert package("torch") is torch
    long = {**TORCH, "url": "https://index.example/" + "x" * ITEM_LIMIT}
    once, again = (decoder.decode(orjson.dumps({"packages": [long]})) for _ in range(2))
    assert once == again
    assert once.packages[0] is not again.packages[0]
