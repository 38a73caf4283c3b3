"""The items that the most users had lately, of all users or within the user's group."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from features.ladder import GROUP_STEPS, slower
from features.lookup import codes, column, flat
from stages.recall.query import Array, Proposals, Query


def most_users(query: Query, name: str, n: int) -> Proposals:
    """At most ``n`` items with the most distinct users that the user did not have; score = users.

    Args:
        query: the users and items.
        name: the item column that counts users, for example ``users_4x``.
        n: the most items of a user.
    """
    return _new_to_user(query, [_largest(column(query.items, name))] * query.users.num_rows, n)


def most_users_in_group(query: Query, user_column: str, group: str, n: int) -> Proposals:
    """The same within a group of users, over the step above the one that suits the data; none without a known group.

    Args:
        query: the users and items.
        user_column: the user column that names the group.
        group: prefix of the item lists ``<group>_name`` and ``<group>_users_<step>``.
        n: the most items of a user.
    """
    offsets, names = flat(query.items, f"{group}_name")
    counts = (
        flat(query.items, f"{group}_users_{slower(query.step, GROUP_STEPS)}")[1]
        .cast(pa.float32())
        .to_numpy(zero_copy_only=False)
    )
    vocabulary = names.unique()
    code = codes(names, vocabulary)
    item = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    order = np.argsort(code, kind="stable")
    starts = np.searchsorted(code[order], np.arange(len(vocabulary) + 1))
    group_of_user = codes(query.users[user_column], vocabulary)
    ranked = {}
    for each in np.unique(group_of_user[group_of_user >= 0]):
        block = order[starts[each] : starts[each + 1]]
        best, score = _largest(counts[block])
        ranked[each] = (item[block][best], score)
    nothing = (np.empty(0, np.int64), np.empty(0, np.float32))
    return _new_to_user(query, [ranked.get(each, nothing) for each in group_of_user], n)


def _largest(count: Array) -> tuple[Array, Array]:
    """Positions of the positive counts, largest first, and the counts."""
    order = np.argsort(-count, kind="stable")
    order = order[count[order] > 0]
    return order, count[order]


def _new_to_user(query: Query, lists: list[tuple[Array, Array]], n: int) -> Proposals:
    """The first ``n`` of each user's (items, scores) that are not in the user's history."""
    users, items, scores = [], [], []
    new = np.ones(len(query.ids) + 1, bool)  # the last place is for -1, an item the catalogue lacks
    for user, (item, score) in enumerate(lists):
        had = query.history[query.offsets[user] : query.offsets[user + 1]]
        new[had] = False
        fresh = np.flatnonzero(new[item[: n + len(had)]])[:n]  # at most all of the history stands in the head
        new[had] = True
        users.append(np.full(len(fresh), user, np.int32))
        items.append(item[fresh].astype(np.int32))
        scores.append(score[fresh].astype(np.float32))
    if not users:
        return Proposals.none()
    return Proposals(np.concatenate(users), np.concatenate(items), np.concatenate(scores))
