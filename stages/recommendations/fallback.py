"""The lists to fall back on: for everyone, for each segment, and for each context where that has been of use."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.ladder import CONTEXT_STEP, DEPTH, EXPECTED, GROUP_STEPS, by_popularity, counted, slower
from features.lookup import codes, column, flat
from narrows.columns import ITEM, RANK, SCORE
from narrows.serving.schema import EVERYONE, of_context

Array = np.ndarray
HEAD = 2000
"""The first items of everyone's order, among which those of a context's list are."""
CONTEXT_SEPARATOR = "|"
"""Between the parts of a context, such as a region and a device."""
FORECAST_WEIGHT = 2 / 3
"""Of the forecast in everyone's order; the step has the rest. Two forecasts together err less than either (Bates & Granger 1969)."""
PRIOR_USERS = 50.0
"""An item is believed to have so many users beside its own, spread over contexts as all users are: damps chance."""


def fallback_lists(
    items: pa.Table, users: pa.Table, allowed: pa.Array, step: str, scene: str, n: int, contexts: Sequence[str] = (),
) -> pa.Table:  # fmt: skip
    """The items that most users are likely to want, for everyone, for each segment and for contexts.

    For everyone by `everyones_order`. For a context by the same worth times the context's lift (see `lifts`). For a segment by its
    users within the step above ``step``, then the longer ones, then by everyone's order. The score is the share of the demand
    that the item is likely to have, in a context times the lift; without a forecast, and for a segment, the share of the
    users (of the segment) that had the item within that step.

    Args:
        items: item_id, ``users_<step>``, expected_demand, and the parallel lists ``segment_name``, ``segment_users_<step>``,
            ``context_name``, ``context_users_1x``; all but the first two may lack.
        users: user_id and optionally segment: the sizes of the segments.
        allowed: the items that may be offered.
        step: of the ladder: the one that suits the data.
        scene: of every row.
        n: items per list.
        contexts: those that have a list of their own.

    Returns:
        scene, segment (``all`` = everyone, ``context=<name>`` = a context), rank int32, item_id, score f64.
    """
    items, worth = everyones_order(items.filter(pc.is_in(items[ITEM], value_set=allowed.cast(items[ITEM].type))), step)
    if not _forecast(items).any():
        worth = worth / max(users.num_rows, 1)
    lists = [_list(items, np.arange(items.num_rows)[:n], worth, scene, EVERYONE)]
    head = items[:HEAD]
    for name, lift in zip(contexts, lifts(head, pa.array(contexts, pa.string())) if contexts else (), strict=True):
        own = worth[:HEAD] * lift
        lists.append(_list(head, np.argsort(-own, kind="stable")[:n], own, scene, of_context(name)))
    if "segment" in users.column_names and {"segment_name", *(f"segment_users_{each}" for each in GROUP_STEPS)} <= set(
        items.column_names
    ):
        size = {each["values"]: each["counts"] for each in pc.value_counts(users["segment"].drop_null()).to_pylist()}
        item = pc.list_parent_indices(items["segment_name"]).to_numpy()
        name = pc.list_flatten(items["segment_name"])
        first = GROUP_STEPS.index(slower(step, GROUP_STEPS))
        counts = [pc.list_flatten(items[f"segment_users_{each}"]).to_numpy() for each in GROUP_STEPS[first:]]
        for segment in sorted(size):
            here = np.flatnonzero(pc.equal(name, segment).to_numpy(zero_copy_only=False))
            best = here[np.lexsort((item[here], *(-count[here] for count in reversed(counts))))][:n]
            takers = np.zeros(items.num_rows)
            takers[item[best]] = counts[0][best]
            lists.append(_list(items, item[best], takers / max(size[segment], 1), scene, segment))
    return pa.concat_tables(lists)


def everyones_order(items: pa.Table, step: str) -> tuple[pa.Table, Array]:
    """The items that are likely to be wanted most first, and how much each is.

    By the weighted mean of two shares: of the coming demand by the forecast, and of the users of the last ``step``. Without a forecast by
    the users of the step. Equals by the longer steps.

    Returns:
        The items; their shares of the demand, or without a forecast their users, float64 (items,).
    """
    items = items.sort_by(by_popularity(items, step)).combine_chunks()
    users, expected = np.nan_to_num(column(items, counted(step))).astype(float), _forecast(items)
    if not expected.any():
        return items, users
    worth = FORECAST_WEIGHT * expected / expected.sum() + (1 - FORECAST_WEIGHT) * users / max(users.sum(), 1)
    best = np.argsort(-worth, kind="stable")
    return items.take(pa.array(best)).combine_chunks(), worth[best]


def _forecast(items: pa.Table) -> Array:
    """The expected demand, float64 (items,): 0 where there is none."""
    name = counted(EXPECTED)
    return np.nan_to_num(column(items, name)).astype(float) if name in items.column_names else np.zeros(items.num_rows)


def contexts_of_use(before: pa.Table | None, now: pa.Table, step: str, most: int) -> list[str]:
    """The contexts with the most users, if lists of their own would have been worth more than everyone's a horizon ago.

    Worth is the sum over contexts and places p of (users of the item in the context in the last horizon) / log2(p + 1).

    Args:
        before: items of a horizon before; None = there are none, and so no such lists.
        now: items; their users by context are what was wanted.
        step: of everyone's order.
        most: the most contexts.
    """
    if not most or before is None or not {"context_name", counted(step)} <= set(before.column_names):
        return []
    names = _largest(now, most)
    before, base = everyones_order(before, step)
    before, base = before[:HEAD].combine_chunks(), base[:HEAD]
    users = np.pad(_by_context(now, names), ((0, 0), (0, 1)))
    # -1, an item that is gone, reads the 0 at the end
    wanted = users[:, codes(before[ITEM], now[ITEM].combine_chunks())]
    own = np.argsort(-(base * lifts(before, names)), axis=1, kind="stable")[:, :DEPTH]
    discount = 1 / np.log2(np.arange(own.shape[1]) + 2)
    better = (np.take_along_axis(wanted, own, 1) * discount).sum() > (wanted[:, :DEPTH] * discount).sum()
    return names.to_pylist() if better else []


def lifts(items: pa.Table, names: pa.Array) -> Array:
    """How much more an item is wanted in a context than in all: P(context | item) / P(context), [contexts, items].

    Damped, and of a context of several parts (``parts_of``) the product over them: parts are taken to be independent given the
    item (naive Bayes), as a combination of them has few users.
    """
    offsets, values = flat(items, "context_name")
    count = flat(items, f"context_users_{CONTEXT_STEP}")[1].cast(pa.float64()).to_numpy(zero_copy_only=False)
    item = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    of_item, everything = np.bincount(item, count, minlength=items.num_rows), max(count.sum(), 1)
    lift = np.ones((len(names), items.num_rows))
    for part in parts_of(pa.concat_arrays([names.cast(pa.string()), values.cast(pa.string())])):
        asked, given = part[: len(names)], part[len(names) :]
        vocabulary = pc.unique(asked)
        context = codes(given, vocabulary)
        known = context >= 0
        place = context[known] * items.num_rows + item[known]
        users = np.bincount(place, count[known], len(vocabulary) * items.num_rows)
        users = users.reshape(len(vocabulary), items.num_rows)
        share = users.sum(1, keepdims=True) / everything
        damped = (users + PRIOR_USERS * share) / (of_item + PRIOR_USERS)
        lift *= (damped / np.maximum(share, 1e-12))[codes(asked, vocabulary)]
    return lift


def parts_of(contexts: pa.Array) -> list[pa.Array]:
    """The parts of contexts such as ``web|north``: for each place the texts that stand there; one where they have other numbers of parts."""
    parts = pc.split_pattern(contexts, CONTEXT_SEPARATOR)
    count = pc.min_max(pc.list_value_length(parts))
    if count["min"] != count["max"]:  # some have other parts than the others: it is no separator there
        return [contexts]
    return [pc.list_element(parts, place) for place in range(count["max"].as_py() or 1)]


def _largest(items: pa.Table, most: int) -> pa.Array:
    """The names of the contexts with the most users."""
    rows = pa.table(
        {
            "name": flat(items, "context_name")[1].cast(pa.string()),
            "users": flat(items, f"context_users_{CONTEXT_STEP}")[1],
        }
    )
    rows = rows.group_by("name").aggregate([("users", "sum")])
    return rows.sort_by([("users_sum", "descending"), ("name", "ascending")])["name"][:most].combine_chunks()


def _by_context(items: pa.Table, names: pa.Array) -> Array:
    """Users within the step of each item in some contexts: float64 [contexts, items]."""
    offsets, values = flat(items, "context_name")
    count = flat(items, f"context_users_{CONTEXT_STEP}")[1].cast(pa.float64()).to_numpy(zero_copy_only=False)
    item = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    context = codes(values, names)
    known = context >= 0
    users = np.zeros((len(names), items.num_rows))
    users[context[known], item[known]] = count[known]
    return users


def _list(items: pa.Table, at: Array, worth: Array, scene: str, segment: str) -> pa.Table:
    return pa.table(
        {
            "scene": pa.array([scene] * len(at), pa.string()),
            "segment": pa.array([segment] * len(at), pa.string()),
            RANK: pa.array(np.arange(1, len(at) + 1), pa.int32()),
            ITEM: items[ITEM].take(pa.array(at, pa.int64())).combine_chunks(),
            SCORE: pa.array(worth[at], pa.float64()),
        }
    )
