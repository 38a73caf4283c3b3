"""What a product service asks of the serving database."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from narrows.serving import schema
from narrows.serving.releases import BECAUSE, SINCE, live_release, newest_first
from narrows.serving.schema import LIVE, current_list, fallback, recommendation, release

CURRENT = Path(__file__).with_name("current.sql").read_text(encoding="utf-8")
"""The statement by which every service reads a list, on SQLite and Postgres alike; see docs/serving.md."""
_current = sa.text(CURRENT).columns(
    **{name: sa.String() for name in ("scene", "user_id", "item_id", "reason", "reason_text", "release_id", "asof")},
    rank=sa.Integer(), score=sa.Float(), propensity=sa.Float(), expires_at=schema.Instant(), segment=sa.String(),
    is_fallback=sa.Boolean(),
)  # fmt: skip


def current(
    engine: sa.Engine, user_id: str, scene: str = "home", n: int = 20, segment: str | None = None
) -> list[dict[str, Any]]:
    """The list to show a user now: the live one, filled from the fallback of the segment, then of everyone.

    Unknown users and expired lists get the fallback alone. All of it is read by one statement.

    Args:
        engine: of ``schema.open_engine``.
        user_id: the user.
        scene: where the list is shown.
        n: how many items.
        segment: for users that the release does not know; by default what the release knows.

    Returns:
        In list order scene, user_id, rank, item_id, score, propensity, reason, reason_text, release_id, asof,
        expires_at, segment, is_fallback. Of a row of a fallback list the propensity is 1, expires_at None, and the
        segment the one that the list is of (``all``: everyone's).
    """
    asked = {"user_id": user_id, "scene": scene, "segment": segment or None, "n": n}
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(_current, asked).mappings()]


def live(engine: sa.Engine) -> dict[str, Any] | None:
    """The release that serves: release_id, asof, created_at, live_since (None: not known), serves_at; None where there is none.

    ``serves_at`` is the instant that a replay of the past takes for the present; None where time goes on.
    """
    with engine.connect() as connection:
        row = live_release(newest_first(connection))
    if row is None:
        return None
    since = row.manifest.get(SINCE)
    return {
        "release_id": row.release_id,
        "asof": row.asof,
        "created_at": row.created_at,
        "live_since": datetime.fromisoformat(since) if since else None,
        "serves_at": row.serves_at,
    }


def own_list(engine: sa.Engine, user_id: str, scene: str = "home") -> dict[str, Any] | None:
    """What the live release has for a user: segment, expires_at, expired; None for a user that it does not know."""
    view = current_list.c
    query = sa.select(view.segment, view.expires_at, view.expired)
    with engine.connect() as connection:
        row = connection.execute(query.where(view.scene == scene, view.user_id == user_id)).mappings().first()
        return dict(row) if row else None


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
