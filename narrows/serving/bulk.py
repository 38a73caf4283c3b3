"""Many rows into a table of the serving database: COPY where the driver has it, else one prepared statement."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
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
        dialect = connection.dialect
        bound = {column.name: column.type.dialect_impl(dialect).bind_processor(dialect) for column in into}
        one = str(sa.insert(table).compile(dialect=dialect, column_keys=list(bound)))
        many = one + f", {one[one.rindex('(') :]}" * (AT_ONCE - 1)
        for chunk in _chunks(rows, fixed, bound):
            whole = len(chunk) // AT_ONCE * AT_ONCE
            if whole:
                groups = [tuple(chain.from_iterable(chunk[at : at + AT_ONCE])) for at in range(0, whole, AT_ONCE)]
                connection.exec_driver_sql(many, groups)
            if chunk[whole:]:
                connection.exec_driver_sql(one, chunk[whole:])
    else:
        for chunk in _chunks(rows, fixed, {column.name: None for column in into}):
            names = [column.name for column in into]
            connection.execute(sa.insert(table), [dict(zip(names, row, strict=True)) for row in chunk])


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
