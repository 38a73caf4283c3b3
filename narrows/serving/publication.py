"""Stage, gate, swap: a release becomes live in one transaction, or nothing changes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from narrows.serving.bulk import insert
from narrows.serving.gates import FALLBACK_PLACE, NO_ROWS, PLACE, GateError, gate, require, without
from narrows.serving.releases import COUNTS, SINCE, counts_of, drop_lists, settled, take_writer_lock
from narrows.serving.schema import STAGED, fallback, recommendation, release, takedown


def publish(
    engine: sa.Engine,
    manifest: dict[str, Any],
    rows: pa.Table | Callable[[], Iterator[pa.Table]],
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
        rows: of ``lists.rows``, all of one release_id; or what yields them in pieces, each of whole lists, every time that
            it is called: so a release need not be in memory.
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
    pieces = (lambda: iter([rows])) if isinstance(rows, pa.Table) else rows
    ids = {each for piece in pieces() for each in pc.unique(piece["release_id"]).to_pylist()}
    if len(ids) != 1:
        raise GateError(f"a release has one id, the rows have {len(ids)}: {sorted(ids)[:3]}")
    key = {"release_id": ids.pop()}
    this = release.c.release_id == key["release_id"]
    with engine.begin() as connection:
        take_writer_lock(connection)
        if counts_of(connection, key["release_id"]) is None:
            drop_lists(connection, [key["release_id"]])
            held = connection.execute(sa.select(release.c.created_at, release.c.manifest).where(this)).one_or_none()
            first = held.created_at if held else None
            since = {SINCE: held.manifest[SINCE]} if held and SINCE in held.manifest else {}
            gone = set(connection.scalars(sa.select(takedown.c.item_id)))
            fallbacks = without(fallbacks, gone, FALLBACK_PLACE)
            counts, expires_at = gated(pieces(), fallbacks, {*forbidden, *gone}, gone)
            columns = {
                "asof": str(asof),
                "serves_at": serves_at(expires_at, asof, first or created_at, clock),
                "manifest": manifest | {COUNTS: counts} | since,
            }
            if first is None:
                connection.execute(sa.insert(release), key | columns | {"created_at": created_at, "state": STAGED})
            else:  # a part of it is lost; if it was live, it is again
                connection.execute(sa.update(release).where(this).values(columns))
            for piece in pieces():
                insert(connection, recommendation, without(piece, gone, PLACE), {})
            insert(connection, fallback, fallbacks, key)
            if counts_of(connection, key["release_id"]) is None:
                raise GateError(
                    "the release is not published: the database holds another number of rows than was written"
                )
        return settled(connection, key["release_id"], keep, hold)


def gated(
    pieces: Iterator[pa.Table],
    fallbacks: pa.Table,
    forbidden: Collection[str],
    gone: Collection[str],
    may_be_empty: bool = False,
) -> tuple[dict[str, int], datetime | None]:
    """Hold every piece against the gates; how many rows there are of what, and when the last list expires.

    What is laid over a release may be empty: fallback lists alone.

    Raises:
        GateError: a gate failed.
    """
    rows, received, expires_at = 0, 0, None
    for piece in pieces:
        left = without(piece, gone, PLACE)
        if left.num_rows:
            require(gate(left, fallbacks, forbidden))
            last = pc.max(left["expires_at"]).as_py()
            expires_at = max(last, expires_at or last)
        rows, received = rows + left.num_rows, received + piece.num_rows
    if not rows:
        failed = gate(recommendation_rows(), fallbacks, forbidden)
        require([each for each in failed if not (may_be_empty and each == NO_ROWS)])
    return {"rows": rows, "fallback_rows": fallbacks.num_rows, "taken_down": received - rows}, expires_at


def recommendation_rows() -> pa.Table:
    """A table of lists without a row."""
    kinds = {"rank": pa.int32(), "propensity": pa.float64(), "expires_at": pa.timestamp("us", "UTC")}
    names = [column.name for column in recommendation.c]
    return pa.table({name: pa.array([], kinds.get(name, pa.string())) for name in names})


def serves_at(expires_at: datetime | None, asof: Any, created_at: datetime, clock: str) -> datetime | None:
    """The instant that a release takes for the present; None = the database's clock.

    Raises:
        GateError: its lists expired before it was made.
    """
    late = expires_at is not None and expires_at <= created_at
    if clock == "wall" and late:
        raise GateError(
            f"the lists of {asof} expired at {expires_at}, before the release was made at {created_at}."
            " For a replay of the past set clock = 'asof' in the section of the room that publishes."
        )
    return asof.end if clock == "asof" or (clock == "auto" and late) else None
