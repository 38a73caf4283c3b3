"""Which release serves: the order of the releases, the swap, the rollback."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from narrows.asof import start_of
from narrows.serving.schema import KEPT, LIVE, ServingError, fallback, reason, recommendation, release

BECAUSE = "kept_because"
"""The key of a release's manifest that says why it did not go live."""
SINCE = "live_since"
"""The key of a release's manifest that says when it went live, as ISO 8601 text."""
COUNTS = "published"
"""The key of a release's manifest that holds how many rows were written: by them a whole release is known."""


class ReleaseError(ServingError):
    """There is no such release to roll back to; the message names those that there are."""


def end_of(asof: Any) -> datetime:
    """The first instant (UTC) that an as-of does not know: the end of its day, hour or minute.

    Args:
        asof: an as-of with an ``end``, or its text (``2017-12-01``, ``2017-12-01T13``, ``2017-12-01T1330``).

    Raises:
        ValueError: the text is no as-of.
    """
    if hasattr(asof, "end"):
        return asof.end
    start = start_of(str(asof))
    return start + {10: timedelta(days=1), 13: timedelta(hours=1)}.get(len(str(asof)), timedelta(minutes=1))


def take_writer_lock(connection: sa.Connection) -> None:
    """Begin the transaction with a write, so that no other writer comes between what is read and what is written."""
    connection.execute(sa.update(release).where(sa.false()).values(state=KEPT))


def ensure(engine: sa.Engine, release_id: str, *, keep: int = 3, hold: str = "") -> dict[str, Any] | None:
    """What `publication.publish` does for a release that the database already holds whole; it needs and writes no row of a list.

    Returns:
        The notes of `publish`; None where the release is missing or incomplete and has to be published.
    """
    with engine.begin() as connection:
        take_writer_lock(connection)
        return settled(connection, release_id, keep, hold) if counts_of(connection, release_id) else None


def explain(engine: sa.Engine, reasons: Mapping[str, str]) -> None:
    """Write what reason codes mean. Codes that are there and not given stay: kept releases may hold them."""
    with engine.begin() as connection:
        known = {row.code: row.text for row in connection.execute(sa.select(reason))}
        for code, text in reasons.items():
            if code not in known:
                connection.execute(sa.insert(reason), {"code": code, "text": text})
            elif known[code] != text:
                connection.execute(sa.update(reason).where(reason.c.code == code).values(text=text))


def counts_of(connection: sa.Connection, release_id: str) -> dict[str, int] | None:
    """What the manifest says was written, if the tables hold just that many rows."""
    manifest = connection.scalar(sa.select(release.c.manifest).where(release.c.release_id == release_id))
    counts: dict[str, int] | None = (manifest or {}).get(COUNTS)
    for table, name in ((recommendation, "rows"), (fallback, "fallback_rows")):
        count = sa.select(sa.func.count()).select_from(table).where(table.c.release_id == release_id)
        if counts and connection.scalar(count) != counts[name]:
            return None
    return counts


def settled(connection: sa.Connection, release_id: str, keep: int, hold: str) -> dict[str, Any]:
    """Let the release serve if it should; the notes of `publication.publish`."""
    state = sa.select(release.c.state).where(release.c.release_id == release_id)
    before, counts = connection.scalar(state), counts_of(connection, release_id) or {}
    because = settle(connection, release_id, hold)
    return {
        "release_id": release_id,
        **counts,
        "live": not because,
        BECAUSE: because,
        "swapped": not because and before != LIVE,
        "collected": collect(connection, keep),
    }


def newest_first(connection: sa.Connection) -> list[sa.Row[Any]]:
    """Every release by as-of, then by when it was made, newest first."""
    rows = connection.execute(sa.select(release).order_by(release.c.release_id)).all()
    return sorted(rows, key=lambda row: (end_of(row.asof), row.created_at), reverse=True)


def live_release(releases: list[sa.Row[Any]]) -> sa.Row[Any] | None:
    """The one that serves, or None."""
    return next((row for row in releases if row.state == LIVE), None)


def settle(connection: sa.Connection, release_id: str, hold: str = "") -> str:
    """Make a release live, unless a newer one is, or ``hold`` says why it must not go live; what is live stays live.

    Returns:
        Why it is kept and not live; empty = it is live.
    """
    releases = newest_first(connection)
    this = next(row for row in releases if row.release_id == release_id)
    live = live_release(releases)
    if live is not None and live.release_id == release_id:
        return ""
    because = hold
    if not because and live is not None and end_of(live.asof) > end_of(this.asof):
        because = f"release {live.release_id} as of {live.asof} is newer"
    if not because:
        swap(connection, this)
    elif (this.state, this.manifest.get(BECAUSE)) != (KEPT, because):
        _write(connection, this, KEPT, because)
    return because


def swap(connection: sa.Connection, row: sa.Row[Any]) -> None:
    """Make a release the live one."""
    connection.execute(sa.update(release).where(release.c.state == LIVE).values(state=KEPT))
    _write(connection, row, LIVE)


def rollback(engine: sa.Engine, release_id: str | None = None) -> str:
    """Make a kept release live again, in one transaction; by default the newest one before the live one.

    The next run of a newer as-of, or of the one that was live, replaces it.

    Returns:
        Its release_id.

    Raises:
        ReleaseError: there is none.
    """
    with engine.begin() as connection:
        take_writer_lock(connection)
        releases = newest_first(connection)
        kept = [row for row in releases if row.state == KEPT]
        live = next((at for at, row in enumerate(releases) if row.state == LIVE), -1)
        wanted = [row for row in (kept if release_id else releases[live + 1 :]) if row.state == KEPT]
        chosen = next((row for row in wanted if release_id in (None, row.release_id)), None)
        if chosen is None:
            what = f"{release_id} is not a kept release" if release_id else "no release is older than the live one"
            raise ReleaseError(f"{what}; kept are: {', '.join(row.release_id for row in kept) or 'none'}")
        swap(connection, chosen)
    return str(chosen.release_id)


def collect(connection: sa.Connection, keep: int) -> list[str]:
    """Drop all but the newest ``keep`` of the kept releases; the ids of those that are gone."""
    kept = [str(row.release_id) for row in newest_first(connection) if row.state == KEPT]
    drop_lists(connection, kept[keep:])
    connection.execute(sa.delete(release).where(release.c.release_id.in_(kept[keep:])))
    return kept[keep:]


def drop_lists(connection: sa.Connection, release_ids: Collection[str]) -> None:
    """Delete the lists and fallback lists of releases; the releases themselves stay."""
    for table in (recommendation, fallback):
        connection.execute(sa.delete(table).where(table.c.release_id.in_(list(release_ids))))


def _write(connection: sa.Connection, row: sa.Row[Any], state: str, because: str = "") -> None:
    manifest = {key: value for key, value in row.manifest.items() if key not in (BECAUSE, SINCE)}
    manifest |= {BECAUSE: because} if because else {}
    manifest |= {SINCE: datetime.now(UTC).isoformat(timespec="seconds")} if state == LIVE else {}
    this = release.c.release_id == row.release_id
    connection.execute(sa.update(release).where(this).values(state=state, manifest=manifest))
