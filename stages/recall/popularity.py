"""The items that the most users had lately, of all users or within the user's group."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from features.ladder import GROUP_STEPS, slower
from features.lookup import codes, flat
from stages.recall.query import Array, Proposals, Query


def most_users(query: Query, name: str, n: int) -> Proposals:
    """At most ``n`` items with the most distinct users that the user did not have; score = users.

    Args:
        query: the users and items.
        name: the item column that counts users, for example ``users_4x``.
        n: the most items of a user.
    """
    catalogue = query.catalogue
    item, score, place = catalogue.once(f"largest {name}", lambda: _with_places(catalogue.column(name)))
    count = np.bincount(query.owner, minlength=query.users.num_rows)
    depth = min(len(item), n + count.max(initial=0))  # at most all of a history stands in the head
    had = place[query.history] < depth
    new = np.ones((query.users.num_rows, depth), bool)
    new[query.owner[had], place[query.history[had]]] = False
    new &= np.cumsum(new, 1, dtype=np.int32) <= n
    user, at = np.nonzero(new)
    return Proposals(user.astype(np.int32), item[at].astype(np.int32), score[at].astype(np.float32))


def most_users_in_group(query: Query, user_column: str, group: str, n: int) -> Proposals:
    """The same within a group of users, over the step above the one that suits the data; none without a known group.

    Args:
        query: the users and items.
        user_column: the user column that names the group.
        group: prefix of the item lists ``<group>_name`` and ``<group>_users_<step>``.
        n: the most items of a user.
    """
    name = f"{group}_users_{slower(query.step, GROUP_STEPS)}"
    groups, ranked = query.catalogue.once(f"largest {name}", lambda: _by_group(query.items, f"{group}_name", name))
    return _new_to_user(query, [ranked[each] for each in codes(query.users[user_column], groups)], n)


def _by_group(items: pa.Table, group: str, count: str) -> tuple[pa.Array, list[tuple[Array, Array]]]:
    """The groups, and the items of each with the counts, largest first; the last are those of no group: none."""
    offsets, names = flat(items, group)
    counts = flat(items, count)[1].cast(pa.float32()).to_numpy(zero_copy_only=False)
    vocabulary = names.unique()
    code = codes(names, vocabulary)
    item = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    order = np.argsort(code, kind="stable")
    ranked = []
    for block in np.split(order, np.searchsorted(code[order], np.arange(len(vocabulary) + 1)))[1:-1]:
        best, score = _largest(counts[block])
        ranked.append((item[block][best], score))
    return vocabulary, [*ranked, (np.empty(0, np.int64), np.empty(0, np.float32))]


def _with_places(count: Array) -> tuple[Array, Array, Array]:
    """What `_largest` gives, and the place of each code in it; of an item that is not there, and of the code -1, the largest integer."""
    item, score = _largest(count)
    place = np.full(len(count) + 1, np.iinfo(np.int32).max, np.int32)
    place[item] = np.arange(len(item))
    return item, score, place


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
