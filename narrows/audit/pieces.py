"""Auditing a draft that is too large to lie in memory: piece by piece, every row, with the result of the whole.

What judges row by row is judged in pieces, and the counts are added. A row count and the least and largest value of a column
are worked out while reading. Rows that repeat a key are found by a hash of the key, and Great Expectations judges them alone:
equal keys have equal hashes, so a row that is not among them repeats no other. What is none of these reads its columns whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from narrows.audit.contract import Contract, named, source

PIECE_ROWS = 1_000_000
"""Rows of a piece, and up to so many rows a draft is judged whole."""
READ_ROWS = 65_536
MOST_REPEATED = 100_000
"""Keys that repeat and are looked at, where there are very many."""
COUNT = "expect_table_row_count_to_be_between"
EXTREMES = ("expect_column_min_to_be_between", "expect_column_max_to_be_between")
UNIQUE = ("expect_column_values_to_be_unique", "expect_compound_columns_to_be_unique")
IN_ORDER = ("expect_column_values_to_be_increasing", "expect_column_values_to_be_decreasing")
COUNTS = ("element_count", "unexpected_count", "missing_count")
EXAMPLES = 20

Judge = Callable[[Contract, Any, list[str]], list[Any]]
"""Great Expectations' results for the expectations of a contract over an Arrow table, or over so many rows without columns."""


def validate(terms: Contract, data: Any, judge: Judge) -> list[Any]:
    """The results for the rows of an Arrow dataset, in the order of the contract."""
    groups: dict[str, list[int]] = {}
    for number, (kind, arguments) in enumerate(terms.expectations):
        groups.setdefault(_group(kind, arguments), []).append(number)
    found: dict[int, Any] = {}

    def some(numbers: list[int]) -> Contract:
        return replace(terms, expectations=tuple(terms.expectations[number] for number in numbers))

    def keep(numbers: list[int], results: list[Any]) -> None:
        for number, result in zip(numbers, results, strict=True):
            found[number] = _added(found[number], result) if number in found else result

    present = data.schema.names
    if numbers := groups.get("rows"):
        for piece in _pieces(data, _columns(some(numbers), present)):
            keep(numbers, judge(some(numbers), piece, present))
    if numbers := groups.get("count"):
        keep(numbers, judge(some(numbers), data.count_rows(), present))
    if numbers := groups.get("extremes"):
        keep(numbers, judge(some(numbers), _extremes(data, _columns(some(numbers), present)), present))
    for number in groups.get("unique", []):
        rows = _repeated(data, some([number]), present)
        keep([number], [_of(result, data.count_rows()) for result in judge(some([number]), rows, present)])
    if numbers := groups.get("whole"):
        table = data.to_table(columns=_columns(some(numbers), present))
        keep(numbers, judge(some(numbers), table, present))
    return [found[number] for number in range(len(terms.expectations))]


def _group(kind: str, arguments: dict[str, Any]) -> str:
    from great_expectations.expectations import expectation as kinds
    from great_expectations.expectations.registry import get_expectation_impl

    plain = arguments.get("mostly", 1) == 1 and kind not in IN_ORDER
    by_row = (kinds.ColumnMapExpectation, kinds.ColumnPairMapExpectation, kinds.MulticolumnMapExpectation)
    if kind == COUNT and "row_condition" not in arguments:
        return "count"
    if kind in EXTREMES and "row_condition" not in arguments and "(" not in str(arguments.get("column")):
        return "extremes"
    if plain and kind in UNIQUE:
        return "unique"
    if kind == "expect_column_to_exist" or (plain and issubclass(get_expectation_impl(kind), by_row)):
        return "rows"
    return "whole"


def _columns(terms: Contract, present: list[str]) -> list[str]:
    """The columns that the expectations read."""
    return list(dict.fromkeys(source(word) for word in terms.words(present)))


def _batches(data: Any, columns: list[str]) -> Iterator[Any]:
    return data.to_batches(columns=columns, batch_size=READ_ROWS, batch_readahead=2, fragment_readahead=1)


def _pieces(data: Any, columns: list[str]) -> Iterator[Any]:
    """The rows, ``PIECE_ROWS`` or a few more at a time; one piece without rows where there are none."""
    import pyarrow as pa

    waiting: list[Any] = []
    held, given = 0, False
    for batch in _batches(data, columns):
        waiting.append(batch)
        held += batch.num_rows
        if held >= PIECE_ROWS:
            yield pa.Table.from_batches(waiting)
            waiting, held, given = [], 0, True
    if held or not given:
        schema = pa.schema([data.schema.field(name) for name in columns])
        yield pa.Table.from_batches(waiting, schema)


def _extremes(data: Any, columns: list[str]) -> Any:
    """A table of two rows: the least and the largest value of each column."""
    import pyarrow as pa
    import pyarrow.compute as pc

    seen: dict[str, list[Any]] = {name: [] for name in columns}
    for batch in _batches(data, columns):
        for name in columns:
            ends = pc.min_max(batch[name])
            seen[name] += [ends["min"], ends["max"]]
    both = {}
    for name, values in seen.items():
        kind = data.schema.field(name).type
        ends = pc.min_max(pa.array([value.as_py() for value in values], kind))
        both[name] = pa.array([ends["min"].as_py(), ends["max"].as_py()], kind)
    return pa.table(both)


def _repeated(data: Any, terms: Contract, present: list[str]) -> Any:
    """The rows whose key (the columns of a uniqueness) may stand in the data twice, and one that does not."""
    import numpy as np
    import pyarrow as pa

    columns = _columns(terms, present)
    arguments = terms.expectations[0][1]
    key = [name for name in (arguments.get("column_list") or [arguments.get("column")]) if name in present]
    if not key or any("(" in str(word) for word in named(arguments)):
        return data.to_table(columns=columns)
    hashes = np.concatenate([np.empty(0, np.uint64), *(_hashes(batch, key) for batch in _batches(data, key))])
    hashes.sort()
    twice = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])[:MOST_REPEATED]
    del hashes
    schema = pa.schema([data.schema.field(name) for name in columns])
    parts = [data.head(1, columns=columns)]
    if len(twice):
        parts = []
        for batch in _batches(data, columns):
            again = np.isin(_hashes(batch, key), twice)
            parts.append(pa.Table.from_batches([batch], schema).filter(pa.array(again)))
    return pa.concat_tables(parts)


def _hashes(batch: Any, key: list[str]) -> Any:
    """A hash of the key of each row, uint64 (rows,), the same wherever the row stands."""
    import polars as pl
    import pyarrow as pa

    rows = pl.DataFrame(pl.from_arrow(pa.table({name: batch[name] for name in key})))
    return rows.hash_rows(seed=1).to_numpy()


def _of(result: Any, rows: int) -> Any:
    """A result over some of the rows as one over all of them."""
    if "element_count" in (result.result or {}):
        result.result["element_count"] = rows
        _shares(result.result)
    return result


def _added(one: Any, other: Any) -> Any:
    """Two results of one expectation over different rows as one."""
    both, more = one.result or {}, other.result or {}
    for name in COUNTS:
        if name in both or name in more:
            both[name] = both.get(name, 0) + more.get(name, 0)
    unexpected = [*both.get("partial_unexpected_list", []), *more.get("partial_unexpected_list", [])]
    if unexpected:
        both["partial_unexpected_list"] = unexpected[:EXAMPLES]
    _shares(both)
    if not other.success and one.success:
        one.exception_info = other.exception_info
    one.result, one.success = both, one.success and other.success
    return one


def _shares(result: dict[str, Any]) -> None:
    """Bring the percentages of a result in line with its counts."""
    rows, unexpected, missing = (result.get(name, 0) for name in COUNTS)
    for name, of in (
        ("unexpected_percent", rows - missing), ("unexpected_percent_nonmissing", rows - missing),
        ("unexpected_percent_total", rows),
    ):  # fmt: skip
        if name in result:
            result[name] = 100 * unexpected / of if of else None
    if "missing_percent" in result:
        result["missing_percent"] = 100 * missing / rows if rows else 0.0
