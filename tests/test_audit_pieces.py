"""An audit in pieces finds what an audit of the whole finds."""

from __future__ import annotations

from numbers import Number

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from narrows.audit import pieces, suite
from tests.test_contract import ASOF, BROKEN, GOOD, TERMS, table

SOME = [each for each in BROKEN if each[0] in ("events", "rerank", "recommendations", "recall")]


def results(room: str, data: object, docs: object) -> list[tuple]:
    """Each expectation, whether it held, and the counts that its page shows."""
    terms = TERMS[room].over(data.schema.names, {"n": 20})
    found, _ = suite.validate(terms, room, data, data.schema.names, docs, "v1", ASOF)
    shown = ("element_count", "unexpected_count", "observed_value", "unexpected_percent")
    return sorted(
        (each.expectation_config.type, each.success, *(plain((each.result or {}).get(name)) for name in shown))
        for each in found.results
    )


def plain(value: object) -> str:
    """A whole number is one, however a frame holds it."""
    return str(float(value)) if isinstance(value, Number) else str(value)


def both_ways(room: str, rows: pa.Table, tmp_path, monkeypatch) -> tuple[list[tuple], list[tuple]]:
    whole = results(room, rows, tmp_path / "docs")
    (tmp_path / "data").mkdir(exist_ok=True)
    for number in range(rows.num_rows):
        pq.write_table(rows.slice(number, 1), tmp_path / "data" / f"part-{number:05d}.parquet")
    monkeypatch.setattr(pieces, "PIECE_ROWS", 1)
    monkeypatch.setattr(pieces, "READ_ROWS", 1)
    return whole, results(room, ds.dataset(tmp_path / "data", format="parquet"), tmp_path / "docs")


@pytest.mark.parametrize("room", ["user_profiles", "rerank"])
def test_a_sound_table_passes_in_pieces(room, tmp_path, monkeypatch):
    whole, parts = both_ways(room, table(GOOD[room]), tmp_path, monkeypatch)
    assert parts == whole
    assert all(held for _, held, *_ in parts)


@pytest.mark.parametrize(("room", "change", "told"), SOME, ids=[f"{room} {told}" for room, _, told in SOME])
def test_a_broken_row_is_found_in_pieces(room, change, told, tmp_path, monkeypatch):
    good = GOOD[room]
    rows = table([*good[:-1], {**good[-1], **change}])
    known = table(good).schema
    kinds = pa.schema(
        [own if pa.types.is_null(known.field(own.name).type) else known.field(own.name) for own in rows.schema]
    )
    whole, parts = both_ways(room, rows.cast(kinds, safe=False), tmp_path, monkeypatch)
    assert parts == whole
    assert not all(held for _, held, *_ in parts)


def test_keys_that_repeat_far_apart_are_found_and_others_are_not(tmp_path):
    """Among many rows the pair that repeats is judged, and a null key is a value like another."""
    users = [f"u{n}" for n in range(3000)]
    rows = pa.table({"user_id": [*users, "u7", None], "item_id": ["a"] * 3000 + ["a", "a"]})
    pq.write_table(rows, tmp_path / "rows.parquet", row_group_size=100)
    data = ds.dataset(tmp_path, format="parquet")
    unique = ("expect_compound_columns_to_be_unique", {"column_list": ["user_id", "item_id"]})
    terms = TERMS["recall"].__class__(TERMS["recall"].path, "one row", (unique,))
    repeated = pieces._repeated(data, terms, data.schema.names)
    assert repeated["user_id"].to_pylist() == ["u7", "u7"]
    sound = pieces._repeated(data.filter(ds.field("user_id") != "u7"), terms, data.schema.names)
    assert sound.num_rows == 1
