"""Stage, gate, swap: a release becomes live in one transaction, or nothing changes."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from narrows.asof import Asof
from narrows.serving.gates import FALLBACK_PLACE, PLACE, GateError, gate, require, without
from narrows.serving.schema import KEPT, LIVE, STAGED, fallback, recommendation, release, takedown

CHUNK = 10_000
"""Rows per insert."""
AGE = (release.c.asof.desc(), release.c.created_at.desc(), release.c.release_id)
"""Newest first."""


class ReleaseError(ValueError):
    """There is no such release to roll back to."""


def publish(
    engine: sa.Engine,
    manifest: dict[str, Any],
    rows: pa.Table,
    fallbacks: pa.Table,
    *,
    asof: Asof,
    created_at: datetime | str,
    keep: int = 3,
    clock: str = "auto",
    forbidden: Collection[str] = (),
) -> dict[str, Any]:
    """Write a release and let it serve, in one transaction; publishing it again changes nothing.

    Items that were taken down leave the lists here; those below move up. A release older (by as-of) than the
    live one is kept, but does not displace it.

    Args:
        engine: of ``schema.open_engine``, after ``schema.create``.
        manifest: what the release is made of, as JSON values.
        rows: of ``lists.rows``, all of one release_id.
        fallbacks: of ``lists.fallback``.
        asof: the partition that the lists are of.
        created_at: aware datetime, or ISO 8601 text; a release keeps its first one.
        keep: releases kept beside the live one.
        clock: see ``Recommendations.clock``.
        forbidden: items that must not be in it.

    Returns:
        release_id, rows, fallback_rows, taken_down (rows left out), live, collected (ids of the dropped).

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
        _drop(connection, release_ids, but_release=True)  # first a write: it takes the writer's lock
        first = connection.scalar(sa.select(release.c.created_at).where(this))
        made = {
            "asof": str(asof),
            "serves_at": _serves_at(rows, asof, first or created_at, clock),
            "manifest": manifest,
        }
        if first is None:
            connection.execute(sa.insert(release), key | made | {"created_at": created_at, "state": STAGED})
        else:
            connection.execute(sa.update(release).where(this).values(made))
        gone = set(connection.scalars(sa.select(takedown.c.item_id)))
        left, fallbacks = without(rows, gone, PLACE), without(fallbacks, gone, FALLBACK_PLACE)
        require(gate(left, fallbacks, {*forbidden, *gone}))
        _insert(connection, recommendation, left.to_batches(CHUNK), {})
        _insert(connection, fallback, fallbacks.to_batches(CHUNK), key)
        for table, wanted in ((recommendation, left.num_rows), (fallback, fallbacks.num_rows)):
            count = sa.select(sa.func.count()).where(table.c.release_id == key["release_id"])
            if (written := connection.scalar(count)) != wanted:
                raise GateError(f"{table.name}: {written} rows were written of {wanted}")
        newest = connection.scalar(sa.select(release.c.asof).where(release.c.state == LIVE))
        live = newest is None or newest <= str(asof)
        if live:
            _swap(connection, key["release_id"])
        else:
            connection.execute(sa.update(release).where(this).values(state=KEPT))
        collected = _collect(connection, keep)
    return key | {
        "rows": left.num_rows,
        "fallback_rows": fallbacks.num_rows,
        "taken_down": rows.num_rows - left.num_rows,
        "live": live,
        "collected": collected,
    }


def rollback(engine: sa.Engine, release_id: str | None = None) -> str:
    """Make a kept release live again, in one transaction; by default the newest one before the live one.

    Returns:
        Its release_id.

    Raises:
        ReleaseError: there is none.
    """
    with engine.begin() as connection:
        connection.execute(sa.update(release).where(sa.false()).values(state=KEPT))  # takes the writer's lock
        newest_first = connection.execute(sa.select(release.c.release_id, release.c.state).order_by(*AGE)).all()
        kept = [name for name, state in newest_first if state == KEPT]
        live = next((at for at, row in enumerate(newest_first) if row.state == LIVE), -1)
        older = [name for name, state in newest_first[live + 1 :] if state == KEPT]
        found = release_id or next(iter(older), None)
        if found is None or found not in kept:
            what = f"{release_id} is not a kept release" if release_id else "no release is older than the live one"
            raise ReleaseError(f"{what}; kept are: {', '.join(kept) or 'none'}")
        _swap(connection, found)
    return found


def _serves_at(rows: pa.Table, asof: Asof, made_at: datetime, clock: str) -> datetime | None:
    expires_at = pc.max(rows["expires_at"]).as_py()
    late = expires_at is not None and expires_at <= made_at
    if clock == "wall" and late:
        raise GateError(
            f"the lists of {asof} expired at {expires_at}, before the release was made at {made_at}."
            " For a replay of the past set [recommendations] clock = 'asof'."
        )
    return asof.end if clock == "asof" or (clock == "auto" and late) else None


def _insert(
    connection: sa.Connection, table: sa.Table, batches: Iterable[pa.RecordBatch], fixed: dict[str, Any]
) -> None:
    for batch in batches:
        rows = batch.select([name for name in batch.schema.names if name in table.c]).to_pylist()
        connection.execute(sa.insert(table), [row | fixed for row in rows] if fixed else rows)


def _swap(connection: sa.Connection, release_id: str) -> None:
    connection.execute(sa.update(release).where(release.c.state == LIVE).values(state=KEPT))
    connection.execute(sa.update(release).where(release.c.release_id == release_id).values(state=LIVE))


def _collect(connection: sa.Connection, keep: int) -> list[str]:
    order = sa.select(release.c.release_id).where(release.c.state == KEPT).order_by(*AGE)
    kept = connection.scalars(order).all()
    _drop(connection, kept[keep:])
    return list(kept[keep:])


def _drop(connection: sa.Connection, release_ids: Collection[str], but_release: bool = False) -> None:
    for table in (recommendation, fallback) if but_release else (recommendation, fallback, release):
        connection.execute(sa.delete(table).where(table.c.release_id.in_(list(release_ids))))
