"""What each user looked at, beside what the user took."""

from __future__ import annotations

import polars as pl

from features import viewed
from narrows.columns import ITEM, USER


def viewed_items(known: pl.DataFrame, length: int) -> pl.DataFrame:
    """Parallel lists ``viewed_item`` and ``viewed_*`` of known context events, the newest item first (ties by its name)."""
    features = [feature().alias(f"viewed_{feature.__name__}") for feature in viewed.BY_ITEM]
    entries = known.group_by(USER, ITEM).agg(features).sort(USER, "viewed_last_days", ITEM)
    entries = entries.rename({ITEM: "viewed_item"})
    return entries.group_by(USER, maintain_order=True).agg(pl.all().head(length))
