"""Features of a (user, item) pair as known at the as-of: one function per feature, named after its column.

Every function takes `Pairs` and returns float32 [pairs], NaN where the feature does not apply; its docstring is the
definition. Ages are days before the end of the as-of day; a *visit* is a distinct day with any event of the user;
a *day with* an item, category or brand is a distinct day on which the user had it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from features.lookup import Array, Pairs


def history_count(pairs: Pairs) -> Array:
    """Days on which the user had the item."""
    return pairs.of_list("history", "count")


def history_last_days(pairs: Pairs) -> Array:
    """Age of the user's newest event with the item."""
    return pairs.of_list("history", "last_days")


def history_first_days(pairs: Pairs) -> Array:
    """Age of the user's first day with the item."""
    return pairs.of_list("history", "first_days")


def history_decayed(pairs: Pairs) -> Array:
    """Sum of 0.5^(age / 90 days) over the days on which the user had the item."""
    return pairs.of_list("history", "decayed")


def history_decayed_short(pairs: Pairs) -> Array:
    """Sum of 0.5^(age / 21 days) over the days on which the user had the item."""
    return pairs.of_list("history", "decayed_short")


def history_last_visits(pairs: Pairs) -> Array:
    """The user's visits since the newest one with the item; 0 = the item was in the newest visit."""
    return pairs.of_list("history", "last_visits")


def history_share(pairs: Pairs) -> Array:
    """history_decayed as a share of its sum over the user's items."""
    return history_decayed(pairs) / np.maximum(pairs.sum_of_list("history", "decayed"), 1e-6)


def history_place(pairs: Pairs) -> Array:
    """How many of the user's items were had more lately."""
    return pairs.place_in_list("history")


def history_gap_days(pairs: Pairs) -> Array:
    """Mean days between two days with the item; NaN before the second."""
    return _gap(pairs, "history")


def history_due(pairs: Pairs) -> Array:
    """history_last_days / history_gap_days: above 1 = overdue."""
    return history_last_days(pairs) / np.maximum(history_gap_days(pairs), 0.5)


def history_gap_visits(pairs: Pairs) -> Array:
    """Mean visits from one with the item to the next with it; NaN before the second."""
    return _gap_visits(pairs, "history")


def history_due_visits(pairs: Pairs) -> Array:
    """(history_last_visits + 1) / history_gap_visits: above 1 = overdue by visits."""
    return (history_last_visits(pairs) + 1) / history_gap_visits(pairs)


def history_visit_share(pairs: Pairs) -> Array:
    """Share of the visits since the first with the item that had it."""
    return history_count(pairs) / pairs.of_list("history", "first_visits")


def history_previous_due(pairs: Pairs) -> Array:
    """history_last_days / days between the two newest days with the item; NaN before the second."""
    gap = pairs.of_list("history", "previous_days") - history_last_days(pairs)
    return history_last_days(pairs) / np.maximum(gap, 0.5)


def history_value(pairs: Pairs) -> Array:
    """Mean value (quantity, rating) of a day with the item, summed within the day."""
    return pairs.of_list("history", "value")


def category_decayed(pairs: Pairs) -> Array:
    """Sum of 0.5^(age / 90 days) over the user's days with the item's category."""
    return pairs.of_list("category", "decayed")


def category_visit_share(pairs: Pairs) -> Array:
    """Share of the visits since the first with the item's category that had it."""
    return pairs.of_list("category", "count") / pairs.of_list("category", "first_visits")


def subcategory_decayed(pairs: Pairs) -> Array:
    """Sum of 0.5^(age / 90 days) over the user's days with the item's subcategory."""
    return pairs.of_list("subcategory", "decayed")


def subcategory_visit_share(pairs: Pairs) -> Array:
    """Share of the visits since the first with the item's subcategory that had it."""
    return pairs.of_list("subcategory", "count") / pairs.of_list("subcategory", "first_visits")


def subcategory_due(pairs: Pairs) -> Array:
    """subcategory_last_days / mean days between two days with the item's subcategory; NaN before the second."""
    return pairs.of_list("subcategory", "last_days") / np.maximum(_gap(pairs, "subcategory"), 0.5)


def subcategory_due_visits(pairs: Pairs) -> Array:
    """(visits since the newest with the item's subcategory + 1) / mean visits from one to the next."""
    return (pairs.of_list("subcategory", "last_visits") + 1) / _gap_visits(pairs, "subcategory")


def subcategory_since_item(pairs: Pairs) -> Array:
    """Days from the user's newest event with the item to the newest with its subcategory: above 0 = another was taken since."""
    return history_last_days(pairs) - pairs.of_list("subcategory", "last_days")


def item_users_7d(pairs: Pairs) -> Array:
    """Distinct users of the item in the last 7 days."""
    return pairs.of_item("users_7d")


def item_users_28d(pairs: Pairs) -> Array:
    """Distinct users of the item in the last 28 days."""
    return pairs.of_item("users_28d")


def item_users_90d(pairs: Pairs) -> Array:
    """Distinct users of the item in the last 90 days."""
    return pairs.of_item("users_90d")


def item_trend(pairs: Pairs) -> Array:
    """item_users_7d / item_users_28d."""
    return item_users_7d(pairs) / np.maximum(item_users_28d(pairs), 1)


def item_trend_long(pairs: Pairs) -> Array:
    """item_users_28d / item_users_90d."""
    return item_users_28d(pairs) / np.maximum(item_users_90d(pairs), 1)


def item_last_days(pairs: Pairs) -> Array:
    """Age of the item's newest event."""
    return pairs.of_item("days_since_last_event")


def item_repeat_share(pairs: Pairs) -> Array:
    """Share of the item's users with two days or more."""
    return pairs.of_item("repeat_share")


def item_gap_days(pairs: Pairs) -> Array:
    """Mean days between two days of one user with the item."""
    return pairs.of_item("mean_gap_days")


def item_days_per_user(pairs: Pairs) -> Array:
    """Mean days with the item per user that had it."""
    return pairs.of_item("days_per_user")


def item_due(pairs: Pairs) -> Array:
    """history_last_days / item_gap_days."""
    return history_last_days(pairs) / np.maximum(item_gap_days(pairs), 0.5)


def item_price(pairs: Pairs) -> Array:
    """Mean price of the item."""
    return pairs.of_item("price")


def item_price_ratio(pairs: Pairs) -> Array:
    """Mean price in the last 7 days / mean price: below 1 = on offer."""
    return pairs.of_item("recent_price") / np.maximum(item_price(pairs), 0.01)


def category_trend(pairs: Pairs) -> Array:
    """Users in the last 7 days / in the last 28, both summed over the items of the item's category."""
    return pairs.sum_by("category", "users_7d") / np.maximum(pairs.sum_by("category", "users_28d"), 1)


def subcategory_trend(pairs: Pairs) -> Array:
    """Users in the last 7 days / in the last 28, both summed over the items of the item's subcategory."""
    return pairs.sum_by("subcategory", "users_7d") / np.maximum(pairs.sum_by("subcategory", "users_28d"), 1)


def subcategory_popularity_share(pairs: Pairs) -> Array:
    """item_users_28d as a share of its sum over the subcategory."""
    return item_users_28d(pairs) / np.maximum(pairs.sum_by("subcategory", "users_28d"), 1)


def context_users_28d(pairs: Pairs) -> Array:
    """Distinct users of the item in the last 28 days at the user's favourite context."""
    return pairs.of_context("users_28d")


def user_events_30d(pairs: Pairs) -> Array:
    """Events of the user in the last 30 days."""
    return pairs.of_user("events_30d")


def user_events(pairs: Pairs) -> Array:
    """Events of the user."""
    return pairs.of_user("events")


def user_visits(pairs: Pairs) -> Array:
    """Visits of the user."""
    return pairs.of_user("visits")


def user_last_days(pairs: Pairs) -> Array:
    """Age of the user's newest event."""
    return pairs.of_user("days_since_last_event")


def user_variety(pairs: Pairs) -> Array:
    """Distinct items / events of the user."""
    return pairs.of_user("distinct_items") / np.maximum(pairs.of_user("events"), 1)


def _gap(pairs: Pairs, kind: str) -> Array:
    """(first - newest) / (days - 1), NaN for a single day."""
    count = pairs.of_list(kind, "count")
    span = pairs.of_list(kind, "first_days") - pairs.of_list(kind, "last_days")
    return span / np.where(count > 1, count - 1, np.float32(np.nan))


def _gap_visits(pairs: Pairs, kind: str) -> Array:
    """(visits from the first to the newest) / (days - 1), NaN for a single day."""
    count = pairs.of_list(kind, "count")
    span = pairs.of_list(kind, "first_visits") - 1 - pairs.of_list(kind, "last_visits")
    return span / np.where(count > 1, count - 1, np.float32(np.nan))


FEATURES: dict[str, Callable[[Pairs], Array]] = {
    name: value
    for name, value in list(globals().items())
    if getattr(value, "__module__", "") == __name__ and name[0] != "_"
}
"""Every feature by name, in the order of this file; then the scores of recall's channels."""


def candidate_score(name: str) -> None:
    """Register the score of a recall channel as the feature ``<name>_score``."""
    column = f"{name}_score"

    def score(pairs: Pairs) -> Array:
        return pairs.of_candidate(column)

    score.__name__ = score.__qualname__ = column
    score.__doc__ = f"Score of the {name} channel of recall; NaN where it did not propose the item."
    FEATURES[column] = score


def matrix(pairs: Pairs, names: list[str] | tuple[str, ...]) -> Array:
    """The named features as float32 [pairs, names], C order."""
    out = np.empty((len(pairs), len(names)), np.float32)
    for place, name in enumerate(names):
        out[:, place] = FEATURES[name](pairs)
    return out
