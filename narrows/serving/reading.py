"""What a product service asks of the serving database."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from narrows.serving import schema
from narrows.serving.releases import BECAUSE, live_release, newest_first
from narrows.serving.schema import (
    EVERYONE,
    LIVE,
    current_fallback,
    current_recommendation,
    fallback,
    recommendation,
    release,
)


def current(
    engine: sa.Engine, user_id: str, scene: str = "home", n: int = 20, segment: str | None = None
) -> list[dict[str, Any]]:
    """The list to show a user now: the live one, filled from the fallback of the segment, then of everyone.

    Unknown users and expired lists get the fallback alone. All of it is read at one instant.

    Args:
        engine: of ``schema.open_engine``.
        user_id: the user.
        scene: where the list is shown.
        n: how many items.
        segment: for users that the release does not know; by default what the release knows.

    Returns:
        rank, item_id, score, propensity, reason, release_id in list order; reason ``fallback`` where filled.
    """
    view = current_recommendation.c
    columns = (view.item_id, view.score, view.propensity, view.reason, view.release_id)
    own = sa.select(*columns).where(view.scene == scene, view.user_id == user_id).order_by(view.rank).limit(n)
    with engine.connect() as connection:
        rows = [dict(row) for row in connection.execute(own).mappings()]
        if len(rows) < n:
            segment = segment or connection.scalar(_segment(user_id, scene))
            shown = {row["item_id"] for row in rows}
            for name in dict.fromkeys([segment, EVERYONE]):
                for row in connection.execute(_fallback(scene, name)).mappings() if name else ():
                    if len(rows) < n and row["item_id"] not in shown:
                        rows.append({**row, "propensity": 1.0, "reason": "fallback"})
                        shown.add(row["item_id"])
    order = ("item_id", "score", "propensity", "reason", "release_id")
    return [{"rank": rank, **{key: row[key] for key in order}} for rank, row in enumerate(rows, start=1)]


def takedown(engine: sa.Engine, item_id: str, reason: str, since: datetime) -> None:
    """Remove an item from every list at the next read. Done again, ``since`` stays and the reason is renewed.

    Args:
        engine: of ``schema.open_engine``.
        item_id: the item.
        reason: why, for people.
        since: an aware datetime, when it was decided.
    """
    with engine.begin() as connection:
        renewed = connection.execute(
            sa.update(schema.takedown).where(schema.takedown.c.item_id == item_id).values(reason=reason)
        )
        if not renewed.rowcount:
            connection.execute(sa.insert(schema.takedown), {"item_id": item_id, "since": since, "reason": reason})


def taken_down(engine: sa.Engine) -> dict[str, str]:
    """The items that no reader sees, with the reason of each one's takedown, which may be empty."""
    with engine.connect() as connection:
        rows = connection.execute(sa.select(schema.takedown.c.item_id, schema.takedown.c.reason))
        return {row.item_id: row.reason for row in rows}


def put_back(engine: sa.Engine, item_id: str) -> bool:
    """Undo a takedown; the item shows again where a live list holds it. False: it was not taken down."""
    with engine.begin() as connection:
        return bool(connection.execute(sa.delete(schema.takedown).where(schema.takedown.c.item_id == item_id)).rowcount)


def state(engine: sa.Engine, release_id: str) -> dict[str, Any]:
    """Whether a release serves: ``live``, and ``kept_because``, why it does not (empty = it does)."""
    with engine.connect() as connection:
        every = newest_first(connection)
    this = next((row for row in every if row.release_id == release_id), None)
    other = live_release(every)
    if this is None:
        because = "it is not in the serving database; the next run of its as-of publishes it again"
    elif this.state == LIVE:
        because = ""
    else:
        because = this.manifest.get(BECAUSE) or (
            f"release {other.release_id} as of {other.asof} is live now" if other else "no release is live"
        )
    return {"live": not because, BECAUSE: because}


def scenes(engine: sa.Engine) -> list[str]:
    """The scenes that the live release has lists for."""
    query = sa.select(fallback.c.scene).distinct().join_from(fallback, release).where(release.c.state == LIVE)
    with engine.connect() as connection:
        return sorted(connection.scalars(query))


def knows(engine: sa.Engine, item_id: str) -> bool:
    """Whether a live list or fallback list holds the item, or it is taken down."""
    queries = [sa.select(schema.takedown.c.item_id).where(schema.takedown.c.item_id == item_id)]
    for table in (recommendation, fallback):
        live = sa.select(table.c.item_id).join_from(table, release)
        queries.append(live.where(release.c.state == LIVE, table.c.item_id == item_id))
    with engine.connect() as connection:
        return any(connection.scalar(query.limit(1)) is not None for query in queries)


def _segment(user_id: str, scene: str) -> sa.Select[Any]:
    rows = recommendation.c
    known = sa.select(rows.segment).join_from(recommendation, release, release.c.release_id == rows.release_id)
    return known.where(release.c.state == LIVE, rows.scene == scene, rows.user_id == user_id).limit(1)


def _fallback(scene: str, segment: str | None) -> sa.Select[Any]:
    view = current_fallback.c
    columns = (view.item_id, view.score, view.release_id)
    return sa.select(*columns).where(view.scene == scene, view.segment == segment).order_by(view.rank)
