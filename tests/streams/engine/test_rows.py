"""Rows as an agent sees them, over a store that may die at any moment."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.engine.rows import MAX_ROW_BYTES, PartitionRows, RowTooLargeError
from streams.engine.tables import PartitionStore, _options
from tests.depth import examples

KEYS = st.text(alphabet="ab|\x01é", min_size=1, max_size=4)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, st.binary(max_size=3)),
        st.tuples(st.just("delete"), KEYS, st.just(b"")),
        st.tuples(st.just("batch"), st.just(""), st.just(b"")),
        st.tuples(st.just("settle"), st.just(""), st.just(b"")),
        st.tuples(st.just("drop"), st.just(""), st.just(b"")),
        st.tuples(st.just("scan"), KEYS, st.just(b"")),
    ),
    max_size=30,
)


@given(
    steps=STEPS,
    prefix=st.one_of(st.just(""), KEYS),
    limit=st.integers(1, 10),
    after=st.one_of(st.just(""), KEYS),
)
@settings(max_examples=examples(30), deadline=None, suppress_health_check=list(HealthCheck))
def test_rows_read_as_a_dictionary_would_at_every_stage(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[str, str, bytes]],
    prefix: str,
    limit: int,
    after: str,
) -> None:
    """Whatever is on disk, pending or just put, `get` and `scan` see the newest."""
    store = PartitionStore(tmp_path_factory.mktemp("rows") / "s", _options())
    rows = PartitionRows(store)
    model: dict[str, bytes] = {}
    taken: dict[str, bytes] = {}
    flights: list[tuple[int, dict[bytes, bytes | None]]] = []
    offset = 0
    for step, key, value in steps:
        if step == "put":
            rows.put(key, value)
            model[key] = value
        elif step == "delete":
            rows.delete(key)
            model.pop(key, None)
        elif step == "batch":
            flights.append(rows.take_changes())
            taken = dict(model)
        elif step == "drop":
            rows.drop_changes()
            model = dict(taken)
        elif step == "scan":
            assert dict(rows.scan(key, limit=99)) == {
                name: value for name, value in model.items() if name.startswith(key)
            }
        elif flights:
            batch, changes = flights.pop(0)
            offset += len(changes)
            rows.settle(batch, changes, offset)
    wanted = sorted(
        ((k, v) for k, v in model.items() if k.startswith(prefix)), key=lambda kv: kv[0].encode()
    )
    assert list(rows.scan(prefix, limit=limit)) == wanted[:limit]
    behind = [(k, v) for k, v in wanted if k.encode() > after.encode()]
    assert list(rows.scan(prefix, limit=limit, after=after)) == behind[:limit]
    assert {key: rows.get(key) for key in model} == model
    assert rows.get("absent") is None
    store.close()


def test_a_row_over_the_limit_is_an_error_and_not_written(tmp_path: Path) -> None:
    rows = PartitionRows(PartitionStore(tmp_path / "s", _options()))
    with pytest.raises(RowTooLargeError, match="bound the set"):
        rows.put("k", b"x" * (MAX_ROW_BYTES + 1))
    assert rows.get("k") is None


def test_rows_and_their_changelog_offset_survive_together(tmp_path: Path) -> None:
    store = PartitionStore(tmp_path / "s", _options())
    store.write([(b"a", b"1"), (b"b", None)], 41)
    store.close()
    again = PartitionStore(tmp_path / "s", _options())
    position = again.position()
    assert position is not None
    assert position[0] == 41
    assert list(again.scan(b"")) == [(b"a", b"1")]
    again.close()
