"""Stage, gate, swap: a release becomes live in one transaction, or nothing changes."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from narrows.serving.gates import FALLBACK_PLACE, PLACE, GateError, gate, require, without
from narrows.serving.releases import COUNTS, SINCE, counts_of, drop_lists, settled, take_writer_lock
from narrows.serving.schema import STAGED, fallback, recommendation, release, takedown

CHUNK = 10_000
"""Rows per insert."""


def publish(
    engine: sa.Engine,
    manifest: dict[str, Any],
    rows: pa.Table,
    fallbacks: pa.Table,
    *,
    asof: Any,
    created_at: datetime | str,
    keep: int = 3,
    clock: str = "auto",
    forbidden: Collection[str] = (),
    hold: str = "",
) -> dict[str, Any]:
    """Write a release and let it serve, in one transaction; publishing it again writes no row.

    Items that were taken down leave the lists here; those below move up. A release older (by as-of) than the
    live one is kept, but does not displace it.

    Args:
        engine: of ``schema.open_engine``, after ``schema.create``.
        manifest: what the release is made of, as JSON values.
        rows: of ``lists.rows``, all of one release_id.
        fallbacks: of ``lists.fallback``.
        asof: the partition that the lists are of: an ``Asof``, a date, or its text.
        created_at: aware datetime, or ISO 8601 text; a release keeps its first one.
        keep: releases kept beside the live one.
        clock: see ``Recommendations.clock``.
        forbidden: items that must not be in it.
        hold: why the release must not go live; empty = it may.

    Returns:
        release_id, rows, fallback_rows, taken_down (rows left out), live, kept_because (why it is not live, else
        empty), swapped (whether this call made it live), collected (ids of the dropped).

    Raises:
        GateError: a gate failed.
    """
    created_at = datetime.fromisoformat(created_at) if isinstance(created_at, str) else created_at
    release_ids = pc.unique(rows["release_id"]).to_pylist()
    if len(release_ids) != 1:
        raise GateError(f"a release has one id, the rows have {len(release_ids)}: {release_ids[:3]}")
    key = {"release_id": release_ids[0]}
    this = release.c.release_id == key["release_id"]
    with engine.begin() as connection:
        take_writer_lock(connection)
        if counts_of(connection, key["release_id"]) is None:
            drop_lists(connection, release_ids)
            held = connection.execute(sa.select(release.c.created_at, release.c.manifest).where(this)).one_or_none()
            first = held.created_at if held else None
            since = {SINCE: held.manifest[SINCE]} if held and SINCE in held.manifest else {}
            gone = set(connection.scalars(sa.select(takedown.c.item_id)))
            left, fallbacks = without(rows, gone, PLACE), without(fallbacks, gone, FALLBACK_PLACE)
            require(gate(left, fallbacks, {*forbidden, *gone}))
            counts = {
                "rows": left.num_rows,
                "fallback_rows": fallbacks.num_rows,
                "taken_down": rows.num_rows - left.num_rows,
            }
            columns = {
                "asof": str(asof),
                "serves_at": _serves_at(rows, asof, first or created_at, clock),
                "manifest": manifest | {COUNTS: counts} | since,
            }
            if first is None:
                connection.execute(sa.insert(release), key | columns | {"created_at": created_at, "state": STAGED})
            else:  # a part of it is lost; if it was live, it is again
                connection.execute(sa.update(release).where(this).values(columns))
            _insert(connection, recommendation, left.to_batches(CHUNK), {})
            _insert(connection, fallback, fallbacks.to_batches(CHUNK), key)
            if counts_of(connection, key["release_id"]) is None:
                raise GateError(
                    "the release is not published: the database holds another number of rows than was written"
                )
        return settled(connection, key["release_id"], keep, hold)


def _serves_at(rows: pa.Table, asof: Any, created_at: datetime, clock: str) -> datetime | None:
    expires_at = pc.max(rows["expires_at"]).as_py()
    late = expires_at is not None and expires_at <= created_at
    if clock == "wall" and late:
        raise GateError(
            f"the lists of {asof} expired at {expires_at}, before the release was made at {created_at}."
            " For a replay of the past set clock = 'asof' in the section of the room that publishes."
        )
    return asof.end if clock == "asof" or (clock == "auto" and late) else None


def _insert(
    connection: sa.Connection, table: sa.Table, batches: Iterable[pa.RecordBatch], fixed: dict[str, Any]
) -> None:
    for batch in batches:
        rows = batch.select([name for name in batch.schema.names if name in table.c]).to_pylist()
        connection.execute(sa.insert(table), [row | fixed for row in rows] if fixed else rows)
