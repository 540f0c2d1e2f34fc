"""The pickle machine observes the same imports as CPython's unpickler."""

from __future__ import annotations

import collections
import datetime as dt
import io
import pickle
import pickletools
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.checks.artifacts.pickle.globals import renamed
from agents.checks.artifacts.pickle.heads import OPENING
from agents.checks.artifacts.pickle.machine import Machine
from agents.checks.artifacts.pickle.symbols import Global
from agents.checks.artifacts.scanning import Budget, BytesSource
from tests.corpus.assembly import PROTO4, arguments, framed, name, octets, stack_name, text
from tests.depth import examples
from tests.each import each


class Listener:
    """Writes down what it hears; treats each call as harmless."""

    def __init__(self) -> None:
        self.imports: list[tuple[str, str]] = []
        self.calls: list[str] = []
        self.odd: list[str] = []

    def imported(self, found: Global, protocol: int) -> None:
        self.imports.append(renamed(found.module, found.name, protocol))

    def called(self, callee, args, offset, opcode):  # noqa: ARG002
        self.calls.append(f"{opcode} {callee}")

    def built(self, target, state, offset, position):  # noqa: ARG002
        return position

    def patched(self, target, offset, opcode):  # noqa: ARG002
        self.odd.append(f"patched {opcode}")

    def constant(self, value, offset):
        """Constants are not looked at here."""

    def anomaly(self, kind, offset, detail):  # noqa: ARG002
        self.odd.append(kind)


class CRecorder(pickle.Unpickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.imports: list[tuple[str, str]] = []

    def find_class(self, module, attribute):
        self.imports.append((module, attribute))
        return super().find_class(module, attribute)


def run(raw: bytes, start: int = 0) -> tuple[Listener, object]:
    listener = Listener()
    end = Machine(BytesSource(raw), start, listener, Budget()).run()
    return listener, end


def values():
    leaves = (
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
        | st.builds(bytearray, st.binary()) | st.complex_numbers() | st.decimals()
        | st.dates() | st.datetimes() | st.timedeltas() | st.fractions() | st.uuids()
        | st.sampled_from([int, dict, len, dt.date, collections.OrderedDict])
    )  # fmt: skip
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner)
            | st.builds(collections.OrderedDict, st.dictionaries(st.text(), inner))
            | st.builds(collections.deque, st.lists(inner)) | st.frozensets(st.integers())
            | st.sets(st.text()) | st.builds(lambda one: [one, one, (one,)], inner)
        ),
        max_leaves=30,
    )  # fmt: skip


@settings(max_examples=examples(60), deadline=None)
@given(value=values(), protocol=st.integers(0, 5), optimise=st.booleans())
def test_imports_match_the_c_unpickler(value, protocol, optimise):
    raw = pickle.dumps(value, protocol)
    if optimise:
        raw = pickletools.optimize(raw)
    recorder = CRecorder(io.BytesIO(raw))
    recorder.load()
    listener, end = run(raw)
    # find_class hears of names before they are renamed.
    heard = [renamed(module, attribute, protocol) for module, attribute in recorder.imports]
    assert listener.imports == heard
    assert (end.stopped, end.offset, listener.odd) == (True, len(raw), [])


@settings(max_examples=examples(150), deadline=None)
@given(raw=st.binary(max_size=300), protocol=st.sampled_from([b"", b"\x80\x02", b"\x80\x04"]))
def test_any_bytes_end_without_an_error(raw, protocol):
    _, end = run(protocol + raw)
    assert end.stopped or end.reason


@pytest.mark.slow
@settings(max_examples=examples(120), deadline=None)
@given(value=values(), place=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_a_changed_byte_ends_without_an_error(value, place, byte):
    raw = bytearray(pickle.dumps(value, 4))
    raw[place % len(raw)] = byte
    _, end = run(bytes(raw))
    assert end.stopped or end.reason


def test_long_constants_and_windows_do_not_move_the_stream():
    big = bytes(3 << 20)
    value = [b"a" * 8190, "x" * 70_000, big, bytes(9 << 20), collections.OrderedDict(a=1), "end"]
    for protocol in range(6):
        raw = (
            pickle.dumps(value, protocol)
            if protocol > 2
            else pickle.dumps(value[1:2] * 30, protocol)
        )
        listener, end = run(raw)
        assert (end.stopped, end.offset, listener.odd) == (True, len(raw), [])


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (PROTO4 + name("a", "f") + arguments("x") + b"R.", "REDUCE a.f"),
        (b"(S'x'\nia\nf\n.", "INST a.f"),
        (b"(" + name("a", "f") + b"No.", "OBJ a.f"),
        (PROTO4 + name("a", "f") + b")\x81.", "NEWOBJ a.f"),
        (PROTO4 + name("a", "f") + b")}\x92.", "NEWOBJ_EX a.f"),
    ],
)
def test_all_five_calling_opcodes_are_observed(raw, expected):
    assert run(raw)[0].calls == [expected]


@each(
    "number",
    [
        b"I0x10\n",
        b"L0x10L\n",
        b"I1\0junk\n",
        b"I010\n",
        b"L-0b11L\n",
        b"I1_0\n",
        b"F1e5\n",
        b"I01\n",
    ],
)
def test_numbers_are_parsed_as_the_c_unpickler_does(number):
    raw = number + b"0" + name("collections", "OrderedDict") + b")R."
    assert pickle.loads(raw) == {}  # what CPython accepts
    listener, end = run(raw)
    assert (listener.imports, end.stopped, listener.odd) == (
        [("collections", "OrderedDict")],
        True,
        [],
    )


def test_an_argument_across_the_end_of_a_frame_is_reported():
    raw = b"\x80\x04\x95" + struct.pack("<Q", 4) + b"N0\x8c\x05hello."
    assert "frame-straddle" in run(raw)[0].odd


def test_frames_as_python_writes_them_are_not_reported():
    assert run(framed(text("hello") + b"."))[0].odd == []


def test_every_opcode_is_known():
    operands = {
        "int": b"1\n", "decimalnl_short": b"1\n", "decimalnl_long": b"1\n", "floatnl": b"1\n",
        "stringnl": b"'a'\n", "stringnl_noescape": b"a\n", "stringnl_noescape_pair": b"a\nb\n",
        "unicodestringnl": b"a\n", "uint1": b"\x01", "uint2": b"\x01\0", "int4": b"\x01\0\0\0",
        "uint4": b"\x01\0\0\0", "uint8": b"\0" * 8, "float8": b"\0" * 8, "string1": b"\x01a",
        "string4": b"\x01\0\0\0a", "bytes1": b"\x01a", "bytes4": b"\x01\0\0\0a",
        "bytes8": b"\x01" + b"\0" * 7 + b"a", "bytearray8": b"\x01" + b"\0" * 7 + b"a",
        "unicodestring1": b"\x01a", "unicodestring4": b"\x01\0\0\0a",
        "unicodestring8": b"\x01" + b"\0" * 7 + b"a", "long1": b"\x01\x05",
        "long4": b"\x01\0\0\0\x05",
    }  # fmt: skip
    assert len(pickletools.opcodes) == 68
    for opcode in pickletools.opcodes:
        operand = operands[opcode.arg.name] if opcode.arg else b""
        stack = b"((((NNNN" + text("a") + text("b")
        _, end = run(stack + opcode.code.encode("latin-1") + operand)
        assert "invalid opcode" not in end.reason, opcode.name


def test_a_budget_ends_the_stream():
    listener = Listener()
    raw = b"N0" * 100_000 + b"N."
    end = Machine(BytesSource(raw), 0, listener, Budget(steps=1000)).run()
    assert end.reason == "budget"


def test_constants_of_any_length_are_bytes_again():
    assert run(PROTO4 + octets(b"a" * 300) + b"0" + stack_name("a", "b") + b".")[0].imports == [
        ("a", "b")
    ]


@pytest.mark.parametrize(
    "rest", [b"", b".", b"0\n0\n.", b"\x01\0\0\0" * 8, b"(lp0\n.", b"\xff" * 64]
)
def test_stream_that_opens_with_another_opcode_ends_at_once(rest):
    """What does not begin with one of `OPENING` ends at once, and nothing is observed."""
    for first in set(range(256)) - set(OPENING):
        listener = Listener()
        end = Machine(BytesSource(bytes((first,)) + rest), 0, listener, Budget()).run()
        assert not end.stopped, hex(first)
        assert [*listener.imports, *listener.calls, *listener.odd] == [], hex(first)


def test_every_stream_that_is_written_begins_with_an_opening_opcode():
    for written in (
        None,
        True,
        1,
        -1,
        1 << 40,
        1.5,
        "a",
        b"a",
        (),
        [],
        {},
        set(),
        print,
        [1, (2,)],
    ):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            assert pickle.dumps(written, protocol)[0] in OPENING
