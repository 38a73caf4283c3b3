"""Many rows into a table of the serving database: COPY where the driver has it, else one prepared statement."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

CHUNK = 10_000
"""Rows that are Python objects at once."""
AT_ONCE = 20
"""Rows of a statement of SQLite: of single rows a quarter of the work is the statements' start."""


def insert(connection: sa.Connection, table: sa.Table, rows: pa.Table, fixed: dict[str, Any]) -> None:
    """Add rows within the connection's transaction.

    Args:
        connection: of SQLite or Postgres.
        table: the table; other columns of ``rows`` are left out.
        rows: as Arrow.
        fixed: columns of one value for all rows.
    """
    into = [column for column in table.c if column.name in rows.column_names or column.name in fixed]
    if connection.dialect.driver == "psycopg":
        columns = ", ".join(connection.dialect.identifier_preparer.format_column(column) for column in into)
        driver: Any = connection.connection
        with driver.cursor() as cursor, cursor.copy(f"COPY {table.name} ({columns}) FROM STDIN") as copy:
            for chunk in _chunks(rows, fixed, {column.name: None for column in into}):
                for row in chunk:
                    copy.write_row(row)
    elif connection.dialect.paramstyle == "qmark":
        _insert_numbered(connection, table, rows, fixed, into)
    else:
        for chunk in _chunks(rows, fixed, {column.name: None for column in into}):
            names = [column.name for column in into]
            connection.execute(sa.insert(table), [dict(zip(names, row, strict=True)) for row in chunk])


def _insert_numbered(
    connection: sa.Connection, table: sa.Table, rows: pa.Table, fixed: dict[str, Any], into: list[sa.Column[Any]]
) -> None:
    """Add rows by statements of SQLite in which a column of one value is one parameter, however many rows they have."""
    dialect = connection.dialect
    bound = {column.name: column.type.dialect_impl(dialect).bind_processor(dialect) for column in into}
    given = {name: rows[name] for name in bound if name not in fixed}
    same = fixed | {name: each[0].as_py() for name, each in given.items() if len(each) and _is_constant(each)}
    once = [turn(same[name]) if turn else same[name] for name, turn in bound.items() if name in same]
    others = {name: turn for name, turn in bound.items() if name not in same}
    number = {name: n for n, name in enumerate([*(name for name in bound if name in same), *others], 1)}
    begin = str(sa.insert(table).compile(dialect=dialect, column_keys=list(bound)))

    def statement(count: int) -> str:
        lines = [
            ", ".join(f"?{number[name] + (name in others) * row * len(others)}" for name in bound)
            for row in range(count)
        ]
        return begin[: begin.rindex("(")] + ", ".join(f"({line})" for line in lines)

    for chunk in _chunks(rows, fixed, others) if others else [[()]] * rows.num_rows:
        whole = len(chunk) // AT_ONCE * AT_ONCE
        for step, some in ((AT_ONCE, chunk[:whole]), (1, chunk[whole:])):
            if groups := [(*once, *chain.from_iterable(some[at : at + step])) for at in range(0, len(some), step)]:
                connection.exec_driver_sql(statement(step), groups)


def _is_constant(column: pa.ChunkedArray) -> bool:
    return pc.count_distinct(column, mode="all").as_py() == 1


def _chunks(rows: pa.Table, fixed: dict[str, Any], bound: dict[str, Any]) -> Iterator[list[tuple[Any, ...]]]:
    """The columns named by ``bound``, as rows; its functions turn a column's values into the driver's."""
    for batch in rows.to_batches(CHUNK):
        columns = []
        for name, turn in bound.items():
            columns.append([fixed[name]] * batch.num_rows if name in fixed else _values(batch[name], turn))
        yield list(zip(*columns, strict=True))


def _values(column: pa.Array, turn: Any) -> list[Any]:
    """The column as Python objects, each distinct one made once: lists repeat most of what they hold."""
    coded = column.dictionary_encode(null_encoding="encode")
    known = coded.dictionary.to_pylist()
    if turn:
        known = [turn(value) for value in known]
    objects = np.empty(len(known), object)
    objects[:] = known
    return list(objects[coded.indices.to_numpy()])
