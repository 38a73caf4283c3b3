"""The features of an item whose events are too many for one process: summed over parts of its users, then made of the sums.

Every user of the item is in one part, with all events with it. The names are those of ``features.item`` and
``features.viewed``, but for means, of which a part has the total and the count. Counts and days are exactly what they are
of all rows at once. Means of prices and gaps are sums of 64-bit floats in another order, kept in 32 bits.
"""

import polars as pl

from features import item, viewed

TOTALS_BY_EVENT = {
    "price_total": pl.col("price").sum(),
    "price_count": pl.col("price").count(),
    "recent_price_total": pl.col("price").filter(pl.col("horizons") <= 1).sum(),
    "recent_price_count": pl.col("price").filter(pl.col("horizons") <= 1).count(),
}
"""What prices are made of: aggregates of events, as in ``features.item.BY_EVENT``."""
AGAIN = pl.col("visits") >= 2
TOTALS_BY_USER = {
    "users": pl.len().cast(pl.Int64),
    "users_again": AGAIN.sum().cast(pl.Int64),
    "visits": pl.col("visits").sum().cast(pl.Int64),
    "gaps": (pl.col("visits") - 1).filter(AGAIN).sum().cast(pl.Int64),
    "gap_days": pl.col("span").filter(AGAIN).sum(),
}
"""What means over users are made of: aggregates of one row per item and user, as in ``features.item.BY_USER``."""
RATIOS = {
    "price": ("price_total", "price_count"),
    "recent_price": ("recent_price_total", "recent_price_count"),
    "repeat_share": ("users_again", "users"),
    "mean_gap_days": ("gap_days", "gaps"),
    "visits_per_user": ("visits", "users"),
}
"""The features that are a total by a count; null where there is nothing to count."""
SMALLEST = ("days_since_last_event", "days_since_last_view")
LARGEST = ("days_since_first_event",)


def of_events() -> list[pl.Expr]:
    """A part's aggregates of the item's known events."""
    features = [feature().alias(feature.__name__) for feature in item.BY_EVENT if feature.__name__ not in RATIOS]
    return features + [total.alias(name) for name, total in TOTALS_BY_EVENT.items()]


def of_users() -> list[pl.Expr]:
    """A part's aggregates of one row per item and user."""
    features = [feature().alias(feature.__name__) for feature in item.BY_USER if feature.__name__ not in RATIOS]
    return features + [total.alias(name) for name, total in TOTALS_BY_USER.items()]


def over_parts() -> list[pl.Expr]:
    """An item's aggregates of its parts: by name, what the features are made of."""
    features = [each.__name__ for each in (*item.BY_EVENT, *item.BY_USER, *viewed.OF_ITEM)]
    names = [name for name in features if name not in RATIOS] + [*TOTALS_BY_EVENT, *TOTALS_BY_USER]
    summed = [name for name in names if name not in SMALLEST + LARGEST]
    return [pl.col(summed).sum(), pl.col(SMALLEST).min(), pl.col(LARGEST).max()]


def ratios() -> list[pl.Expr]:
    """The features that are made of two of the sums."""
    return [
        pl.when(pl.col(count) > 0).then(pl.col(total) / pl.col(count)).cast(pl.Float32).alias(name)
        for name, (total, count) in RATIOS.items()
    ]
