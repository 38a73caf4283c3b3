"""The Great Expectations side of a contract: the suite, the data as it reads it, the results."""

from __future__ import annotations

import contextlib
import difflib
import functools
import json
import shutil
import sys
import warnings
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narrows.asof import start_of
from narrows.audit import pieces, site
from narrows.audit.contract import LIST_WORD, Contract, ContractError, source
from narrows.audit.words import TOLD

if TYPE_CHECKING:
    from narrows.audit.observations import Measured

GRAIN = "**Grain**: "
"""Before the grain in the notes of a suite."""
ENGINES: dict[str, dict[str, Any]] = {"pandas": {}, "spark": {"persist": False}}


def validate(
    terms: Contract,
    room: str,
    data: Any,
    present: Collection[str],
    docs: Path,
    version: str,
    asof: str,
    measured: Mapping[str, Measured] = {},
) -> tuple[Any, str]:
    """Great Expectations' result for `data`, and for what is ``measured`` of it, and the path of its page; see `contract.audit`."""
    judged = suite(terms, room)
    context = _context(str(docs.absolute()))

    def judge(some: Contract, rows: Any, columns: Collection[str]) -> Any:
        engine, frame = _frame(some, rows, columns)
        origin = getattr(context.data_sources, f"add_or_update_{engine}")(engine, **ENGINES[engine])
        batch = origin.add_dataframe_asset(room).add_batch_definition_whole_dataframe(version)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its own deprecations, nothing a reader of the run can act on
            batch = batch.get_batch({"dataframe": frame})
            return batch.validate(judged if some is terms else suite(some, room), result_format="BASIC")

    if hasattr(data, "to_table") and data.count_rows() > pieces.PIECE_ROWS:
        result = _joined(
            pieces.validate(
                terms,
                data,
                lambda some, rows, columns: _in_order(suite(some, room), judge(some, rows, columns).results),
            ),
            room,
            terms,
        )
    else:
        result = judge(terms, data, present)
    if seen := terms.of_measures(measured):
        judged = suite(replace(terms, expectations=(*terms.expectations, *seen.expectations)), room)
        found = judge(seen, _values(measured), list(measured)).results
        result = _joined([*result.results, *(_told(each, measured) for each in found)], room, terms)
    return result, _write_page(context, judged, result, docs, room, version, asof)


def _values(measured: Mapping[str, Measured]) -> Any:
    """The values of all measures as an Arrow table: a column each, its values in rows where the others are null."""
    import pyarrow as pa

    columns, before, rows = {}, 0, sum(len(each.values) for each in measured.values())
    for name, each in measured.items():
        after = rows - before - len(each.values)
        columns[name] = pa.array([None] * before + [value for _, value in each.values] + [None] * after, pa.float64())
        before += len(each.values)
    return pa.table(columns)


def _told(result: Any, measured: Mapping[str, Measured]) -> Any:
    """A result over a measure, counted without the rows of others, with what each value is of."""
    values, seen = measured[result.expectation_config.kwargs["column"]].values, result.result
    wrong = set(seen.get("partial_unexpected_list", ()))
    seen[TOLD] = [said for said, value in values if value in wrong or len(values) == 1]
    if "element_count" in seen:
        seen["element_count"], seen["missing_count"], seen["missing_percent"] = len(values), 0, 0.0
    return result


def _in_order(of: Any, results: list[Any]) -> list[Any]:
    """The results in the order of the suite's expectations; Great Expectations has an order of its own."""

    def key(config: Any) -> str:
        given = {name: value for name, value in config.kwargs.items() if name != "batch_id" and value is not None}
        return json.dumps([config.type, given], sort_keys=True, default=str)

    waiting: dict[str, list[Any]] = {}
    for result in results:
        waiting.setdefault(key(result.expectation_config), []).append(result)
    return [waiting[key(each.configuration)].pop(0) for each in of.expectations]


def _joined(results: list[Any], room: str, terms: Contract) -> Any:
    """One result of the results of all expectations of a suite."""
    from great_expectations.core import ExpectationSuiteValidationResult

    held = sum(bool(each.success) for each in results)
    statistics = {
        "evaluated_expectations": len(results),
        "successful_expectations": held,
        "unsuccessful_expectations": len(results) - held,
        "success_percent": 100 * held / max(len(results), 1),
    }
    return ExpectationSuiteValidationResult(
        success=held == len(results), results=results, suite_name=room, statistics=statistics, meta={}
    )


def prepare() -> None:
    """Import Great Expectations now, so that the first audit need not wait for it."""
    _great_expectations()


def suite(terms: Contract, name: str) -> Any:
    """The suite of a contract.

    Raises:
        ContractError: an unknown expectation or argument, or a wrong value: with the file, the entry and the nearest names.
    """
    gx = _great_expectations()
    from great_expectations.expectations import registry

    known = registry.list_registered_expectation_implementations()
    expectations = []
    for number, (kind, arguments) in enumerate(terms.expectations, 1):
        where = f"{terms.path}: expectation {number}, {kind}"
        if kind not in known:
            near = difflib.get_close_matches(kind, known, 2)
            hint = f"; meant {' or '.join(near)}?" if near else ""
            raise ContractError(f"{where}: no such expectation{hint}")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expectations.append(registry.get_expectation_impl(kind)(**arguments))
        except (TypeError, ValueError, gx.exceptions.GreatExpectationsError) as error:
            reasons = error.errors() if hasattr(error, "errors") else [{"loc": (), "msg": str(error)}]
            problems = "; ".join(": ".join(map(str, [*r["loc"], r["msg"]])) for r in reasons)
            raise ContractError(f"{where}: {problems}") from None
    return gx.ExpectationSuite(name=name, expectations=expectations, notes=f"{GRAIN}{terms.grain}")


@functools.cache
def _great_expectations() -> Any:
    """Import Great Expectations (3 s)."""
    # It imports Spark Connect where it can, and that import ends a process started by `python -c` or from
    # standard input, with exit code 0 (pyspark takes it for a doctest run). Hide Connect while importing.
    hidden = [f"pyspark.sql.connect.{name}" for name in ("dataframe", "session")]
    hidden = [name for name in hidden if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        import great_expectations as gx
    finally:
        for name in hidden:
            sys.modules.pop(name, None)
    from great_expectations.execution_engine import pandas_execution_engine

    pandas_execution_engine.HASH_THRESHOLD = 0  # a hash of all rows, which nobody reads: a third of an audit
    return gx


@functools.lru_cache(maxsize=4)
def _context(docs: str) -> Any:
    """An ephemeral context whose suites and results lie under `docs`."""
    gx = _great_expectations()
    from great_expectations.data_context.types.base import DataContextConfig

    def files(folder: str) -> dict[str, str]:
        return {"class_name": "TupleFilesystemStoreBackend", "base_directory": folder}

    def store(kind: str, backend: dict[str, str]) -> dict[str, Any]:
        return {"class_name": kind, "store_backend": backend}

    memory = {"class_name": "InMemoryStoreBackend"}
    config = DataContextConfig(
        config_version=4.0,
        analytics_enabled=False,
        progress_bars={"globally": False},  # type: ignore[arg-type]
        expectations_store_name="suites",
        validation_results_store_name="results",
        checkpoint_store_name="checkpoints",
        stores={
            "suites": store("ExpectationsStore", files(f"{docs}/suites")),
            "results": store("ValidationResultsStore", files(f"{docs}/results")),
            "checkpoints": store("CheckpointStore", memory),
            "validation_definition_store": store("ValidationDefinitionStore", memory),
        },
        data_docs_sites={},  # its pages load their styles from the internet: ours are made by `site`
    )
    return gx.get_context(mode="ephemeral", project_config=config)


def _frame(terms: Contract, data: Any, present: Collection[str]) -> tuple[str, Any]:
    """The named columns of the data, list words worked out, with the engine that reads them."""
    words = terms.words(present)
    if hasattr(data, "sparkSession"):
        from pyspark.sql import functions as F

        list_words = {"length": F.array_size, "min": F.array_min, "max": F.array_max}
        listed = [(word, LIST_WORD.fullmatch(word)) for word in words]
        columns = [list_words[m[1]](m[2]).alias(word) if m else F.col(word) for word, m in listed]
        return "spark", data.select(*columns)
    if isinstance(data, int):
        import pandas as pd

        return "pandas", pd.DataFrame(index=pd.RangeIndex(data))
    if hasattr(data, "to_table"):
        data = data.to_table(columns=list(dict.fromkeys(map(source, words))))
    return "pandas", _pandas(terms, data, words)


def _pandas(terms: Contract, table: Any, words: list[str]) -> Any:
    """An Arrow table's named columns as pandas; strings as categories and numbers of 64 bits, checked several times faster:
    of other numbers Great Expectations compares each by itself.
    """
    import pandas as pd
    import pyarrow as pa

    typed = {arguments.get("column") for kind, arguments in terms.expectations if "_type" in kind}
    columns = {}
    for word in words:
        listed = LIST_WORD.fullmatch(word)
        column = _list_word(listed[1], table[listed[2]]) if listed else table[word]
        columns[word] = column if word in typed else _quickly_checked(column)
    return (
        pa.table(columns).to_pandas(date_as_object=False)
        if columns
        else pd.DataFrame(index=pd.RangeIndex(table.num_rows))
    )


def _quickly_checked(column: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return column.dictionary_encode()
    if pa.types.is_integer(column.type) and not pa.types.is_uint64(column.type):
        return column.cast(pa.int64())
    return column.cast(pa.float64()) if pa.types.is_floating(column.type) else column


def _list_word(word: str, column: Any) -> Any:
    """`length`, `min` or `max` of each list of a list column (rows,); null where there is none."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if word == "length":
        return pc.list_value_length(column)
    lists = column.combine_chunks()
    values = pa.table({"row": pc.list_parent_indices(lists), "value": pc.list_flatten(lists)})
    best = values.group_by("row").aggregate([("value", word)]).combine_chunks()
    at = np.full(len(lists), -1)
    at[best["row"].to_numpy()] = np.arange(best.num_rows)
    return best[f"value_{word}"].take(pa.array(at, mask=at < 0))


def _write_page(context: Any, judged: Any, result: Any, docs: Path, room: str, version: str, asof: str) -> str:
    """Store a result under (room, version, as-of), write its page and the index; return the page's path."""
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types.resource_identifiers import (
        ExpectationSuiteIdentifier,
        ValidationResultIdentifier,
    )

    run, name = RunIdentifier(run_name=version, run_time=start_of(str(asof))), ExpectationSuiteIdentifier(room)
    key = ValidationResultIdentifier(expectation_suite_identifier=name, run_id=run, batch_identifier=room)
    result.meta["run_id"] = run
    with site.alone(docs):
        if not site.has_index(docs):
            _write_older_pages(context, docs)
        context.suites.add_or_update(judged)
        context.validation_results_store.set(key, result)
        return site.add(docs, room, version, str(asof), judged.notes.removeprefix(GRAIN), result)


def _write_older_pages(context: Any, docs: Path) -> None:
    """The pages of the results that a state folder of an earlier version has: its own need the internet."""
    for key in context.validation_results_store.list_keys():
        room, version = key.expectation_suite_identifier.name, key.run_id.run_name
        with contextlib.suppress(Exception):  # a damaged old result is no reason to stop a run
            result = context.validation_results_store.get(key)
            site.add(docs, room, version, site.asof_of(key.run_id.run_time), "", result, index=False)
    for folder in ("expectations", "static"):
        shutil.rmtree(docs / folder, ignore_errors=True)
