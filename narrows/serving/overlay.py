"""New lists for some users in a release that serves already: between the runs that make lists for everybody."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from narrows.serving.bulk import insert
from narrows.serving.gates import FALLBACK_PLACE, PLACE, without
from narrows.serving.publication import gated, serves_at
from narrows.serving.releases import BECAUSE, COUNTS, counts_of, end_of, settled, take_writer_lock
from narrows.serving.schema import fallback, recommendation, release, takedown

OVERLAYS = "overlays"
"""The key of a release's manifest with the versions that were laid over it, oldest first."""
KEYS = 500
"""Users that one statement names."""


def overlay(
    engine: sa.Engine,
    release_id: str,
    version: str,
    rows: Callable[[], Iterator[pa.Table]],
    fallbacks: pa.Table,
    *,
    asof: Any,
    created_at: datetime | str,
    keep: int = 3,
    clock: str = "auto",
    forbidden: Collection[str] = (),
    hold: str = "",
) -> dict[str, Any] | None:
    """Replace the lists of some users, and all fallback lists, in one transaction; done again, it writes no row.

    Lists that expired by the as-of are dropped. Where the release has been laid over as of a later instant, nothing changes.

    Args:
        engine: of ``schema.open_engine``, after ``schema.create``.
        release_id: the release that the lists go into.
        version: of what is laid over it.
        rows: yields the new lists in pieces, each of whole lists, every time that it is called.
        fallbacks: of ``lists.fallback``, all of them.
        asof: the ``Asof`` that the new lists are of.
        created_at: aware datetime, or ISO 8601 text.
        keep: see `publication.publish`, as for the next three.
        clock: see there.
        forbidden: see there.
        hold: see there.

    Returns:
        The notes of `publication.publish`; None where the release is missing or incomplete and has to be published as a whole.

    Raises:
        GateError: a gate failed.
    """
    created_at = datetime.fromisoformat(created_at) if isinstance(created_at, str) else created_at
    this = release.c.release_id == release_id
    with engine.begin() as connection:
        take_writer_lock(connection)
        held = connection.execute(sa.select(release).where(this)).one_or_none()
        if held is None or counts_of(connection, release_id) is None:
            return None
        done = held.manifest.get(OVERLAYS, [])
        if version in done:
            return settled(connection, release_id, keep, hold)
        if end_of(held.asof) > asof.end:
            notes = settled(connection, release_id, keep, hold)
            return notes | {
                "live": False,
                BECAUSE: f"release {release_id} has lists as of {held.asof}, which are newer",
            }
        gone = set(connection.scalars(sa.select(takedown.c.item_id)))
        fallbacks = without(fallbacks, gone, FALLBACK_PLACE)
        connection.execute(sa.delete(recommendation).where(_of(release_id), recommendation.c.expires_at <= asof.end))
        new, last = gated(rows(), fallbacks, {*forbidden, *gone}, gone, may_be_empty=True)
        for piece in rows():
            _drop(connection, release_id, piece)
            insert(connection, recommendation, without(piece, gone, PLACE), {"release_id": release_id})
        connection.execute(sa.delete(fallback).where(fallback.c.release_id == release_id))
        insert(connection, fallback, fallbacks, {"release_id": release_id})
        there = sa.select(sa.func.count()).select_from(recommendation).where(_of(release_id))
        counts = new | {"rows": connection.scalar(there)}
        manifest = held.manifest | {COUNTS: counts, OVERLAYS: [*done, version]}
        at = serves_at(last, asof, created_at, clock) if last else (asof.end if held.serves_at else None)
        connection.execute(sa.update(release).where(this).values(asof=str(asof), serves_at=at, manifest=manifest))
        return settled(connection, release_id, keep, hold)


def _of(release_id: str) -> sa.ColumnElement[bool]:
    return recommendation.c.release_id == release_id


def _drop(connection: sa.Connection, release_id: str, lists: pa.Table) -> None:
    """Delete the lists that the new ones take the place of."""
    for scene in pc.unique(lists["scene"]).to_pylist():
        users = pc.unique(lists.filter(pc.equal(lists["scene"], scene))["user_id"]).to_pylist()
        for start in range(0, len(users), KEYS):
            mine = recommendation.c.user_id.in_(users[start : start + KEYS])
            connection.execute(sa.delete(recommendation).where(_of(release_id), recommendation.c.scene == scene, mine))
