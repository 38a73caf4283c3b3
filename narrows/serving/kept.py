"""Which releases the serving database keeps: what must not be removed from the store.

Apart from `narrows.serving.reading`, which rooms import: what they import is part of what makes their tables again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from narrows.serving import schema
from narrows.serving.releases import newest_first
from narrows.serving.schema import LIVE, release


def releases(url: str) -> list[dict[str, Any]]:
    """Every release of a serving database, newest first: release_id, asof, live, manifest; none where it has no table yet.

    Raises:
        ServingError: as `schema.open_engine`; or it cannot be read.
    """
    engine = schema.open_engine(url)
    if engine.dialect.name == "sqlite" and not Path(engine.url.database or "").is_file():
        return []
    try:
        if not sa.inspect(engine).has_table(release.name):
            return []
        with engine.connect() as connection:
            rows = newest_first(connection)
    except sa.exc.DBAPIError as error:
        reason = " ".join(str(error.orig).split())
        raise schema.ServingError(f"the serving database cannot be read: {reason}") from None
    finally:
        engine.dispose()
    kept = ("release_id", "asof", "manifest")
    return [{**{key: getattr(row, key) for key in kept}, "live": row.state == LIVE} for row in rows]
