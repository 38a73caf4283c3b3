"""What a generated world's past says of its requests: sequences, and features that any log could give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from narrows.codesign.log import Array
from narrows.codesign.sequences import latest, matches
from narrows.world.items import Catalogue, catalogue
from narrows.world.log import sought, viewed
from narrows.world.policy import estimate, shelf, show
from narrows.world.sessions import DAY, MICROSECONDS, sessions
from narrows.world.settings import World
from narrows.world.users import Users, users

COLUMNS = (
    "item_popularity", "item_rate", "item_age", "price", "user_views", "hour_sin", "hour_cos",
    "item_views", "subcategory_share", "brand_share",
)  # fmt: skip
OF_PAIR = ("item_views", "subcategory_share", "brand_share")
"""The columns that belong to a user and an item together."""


@dataclass(frozen=True)
class Past:
    """The requests of a world in the order of time, and what was known before each."""

    catalogue: Catalogue
    user: Array
    """int64 [requests]"""
    session: Array
    """int64 [requests]: unique in the world."""
    time: Array
    """int64 [requests]: seconds since 1970."""
    day: Array
    """int64 [requests]: of the log, 0 = the first."""
    hour: Array
    """float64 [requests]"""
    interest: Array
    """int64 [requests]: which of the user's interests the session has; no feature tells."""
    sequence: Array
    """int32 [requests, LENGTH]: 1 + the items that the user viewed before, the latest last; 0 = none."""
    views_before: Array
    """int64 [requests]: how many views the user had before."""
    views: Array
    """int64 [days + 1, items]: views of all users before each day."""
    shown: Array
    """int64 [days + 1, items]: impressions before each day."""

    def features(self, places: Array, request: Array, item: Array) -> Array:
        """The columns of candidates.

        Args:
            places: [requests], of some requests of one day.
            request: [rows], the place of each candidate's request among them.
            item: [rows].

        Returns:
            float32 [rows, COLUMNS]
        """
        day, items = int(self.day[places[0]]), self.catalogue
        views, shown = self.views[day], self.shown[day]
        mean = (views.sum() + 1) / (shown.sum() + 20)
        rate = (views + 20 * mean) / (shown + 20)
        angle = self.hour[places] * (2 * np.pi / 24)
        sequence = self.sequence[places]
        there = sequence > 0
        count = np.maximum(there.sum(1), 1)

        def share(of: Array) -> Array:
            """How much of the sequence is like the candidate."""
            past = np.where(there, of[np.maximum(sequence - 1, 0)], -1)
            return matches(past, request, of[item]) / count[request]

        return np.stack(
            [
                np.log1p(views)[item], rate[item], day - items.born[item], items.price[item],
                np.log1p(self.views_before[places])[request], np.sin(angle)[request], np.cos(angle)[request],
                matches(sequence, request, item + 1), share(items.group), share(items.brand),
            ],
            1, dtype=np.float32,
        )  # fmt: skip


def past_of(world: World, on_day: Callable[[Users, int], Users], first: int, requests: int) -> Past:
    """Play the whole log of a world under its own policy; the latest sessions are the requests.

    Args:
        world: its settings.
        on_day: the users as they are on a day.
        first: the first day whose sessions may be requests.
        requests: how many at the most.
    """
    items = catalogue(world)
    everyone = users(world, items, 0, world.users)
    known = estimate(world, items, everyone)
    views, shown = np.zeros((2, world.days + 1, world.items), np.int64)
    visits, seen = [], []
    for day in range(world.days):
        today = on_day(everyone, day)
        visit = sessions(world, today, day)
        lists = show(world, shelf(world, items, day), known, visit.who, visit.random)
        acts = [viewed(world, items, today, visit, lists, day), sought(world, today, visit)]
        item = np.concatenate([each.item for each in acts])
        session = np.concatenate([each.session for each in acts])
        seen.append(np.stack([visit.who[session], np.concatenate([each.time for each in acts]), item]))
        views[day + 1] = views[day] + np.bincount(item, minlength=world.items)
        shown[day + 1] = shown[day] + np.bincount(lists.items.ravel(), minlength=world.items)
        if day >= first:
            visits.append(np.stack([visit.who, visit.number, visit.begin, np.full(len(visit), day), visit.interest]))
    user, number, begin, day_of, interest = np.concatenate(visits, 1)
    last = np.argsort(begin, kind="stable")[-requests:]
    user, number, begin, day_of, interest = (each[last] for each in (user, number, begin, day_of, interest))
    sequence, before = latest(np.concatenate(seen, 1), user, begin)
    return Past(
        items, user, number, begin // MICROSECONDS, day_of, begin // MICROSECONDS % DAY / 3600, interest, sequence,
        before, views, shown,
    )  # fmt: skip
