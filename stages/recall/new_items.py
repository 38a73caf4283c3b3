"""New items of the kinds that a user likes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from scipy import sparse

from features.lookup import codes, flat
from stages.recall.query import Array, Proposals, Query

LEVELS = ("category", "subcategory")
"""Kinds of items, the coarse first."""
STRENGTH = 10.0
"""k: a user counts as everybody until so many visits say otherwise."""
MOST = 1000
"""New items, those with the most users, that users choose among."""
BLOCK = 1024
"""Users scored at once; bounds the memory."""


def of_liked_kinds(query: Query, within: float, n: int) -> Proposals:
    """At most ``n`` new items of each user that the user did not have; score = (1 + users of the last horizon) x lift.

    So an item without an event competes by its kind alone. Of equal scores the newest is first.

    Args:
        query: the users and items.
        within: an item is new for so many horizons from when it became available.
        n: the most items of a user.
    """
    new, wanted = query.catalogue.once(f"new {within}", lambda: _newest(query, within))
    if not len(new) or n < 1:
        return Proposals.none()
    had, parts = query.seen[:, new], [Proposals.none()]
    for some, lift in _lifts(query, new):
        score = lift * wanted
        score[had[some].nonzero()] = 0
        user, place = score.nonzero()
        best = Proposals.best(user + some.start, place, score[user, place], n)
        parts.append(Proposals(best.user, new[best.item].astype(np.int32), best.score))
    return Proposals(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("user", "item", "score")))


def _newest(query: Query, within: float) -> tuple[Array, Array]:
    """The new items with the most users, newest first, and 1 + their users of the last horizon."""
    new = np.flatnonzero(query.available <= within * query.horizon)
    wanted = 1 + np.nan_to_num(query.catalogue.column("users_1x")[new])
    most = np.lexsort((new, query.available[new], -wanted))[:MOST]
    order = most[np.lexsort((new[most], query.available[new[most]]))]
    return new[order], wanted[order]


def _lifts(query: Query, new: Array) -> Iterator[tuple[slice, Array]]:
    """How much more than others users like each new item's kind: blocks of users, float32 [users, new items].

    (w_g / p_g + k b) / (w + k): w_g are the user's decayed visits with the kind g (a half-life of 16 horizons), w their sum over
    the kinds, p_g the share that g has of the items' users in as long a time, b the lift of the item's category, of a category 1.
    This is Dirichlet smoothing (Zhai & Lafferty 2004). A level at which the item has no kind says nothing.
    """
    levels = [_visits(query, level, new) for level in LEVELS]
    for start in range(0, query.users.num_rows, BLOCK):
        some = slice(start, min(start + BLOCK, query.users.num_rows))
        lift = np.ones((some.stop - start, len(new)), np.float32)
        for visits, total, kind in levels:
            known = np.flatnonzero(kind >= 0)
            mine = visits[some][:, kind[known]].toarray()
            lift[:, known] = (mine + STRENGTH * lift[:, known]) / (total[some, None] + STRENGTH)
        yield some, lift


def _visits(query: Query, level: str, new: Array) -> tuple[sparse.csr_matrix, Array, Array]:
    """At a level: w_g / p_g [users, kinds], w float32 (users,) and the kind of each new item, -1 = none, int32."""
    names, kind = query.catalogue.vocabulary[level], query.catalogue.code[level]
    taken = np.bincount(kind + 1, np.nan_to_num(query.catalogue.column("users_16x")), len(names) + 1)[1:] + 1
    offsets, liked = flat(query.users, f"{level}_name")
    user, liked = np.repeat(np.arange(query.users.num_rows), np.diff(offsets)), codes(liked, names)
    weight = flat(query.users, f"{level}_decayed_16x")[1].cast(pa.float32()).to_numpy(zero_copy_only=False)
    total = np.bincount(user, weight, query.users.num_rows).astype(np.float32)
    some = liked >= 0  # the catalogue may have lost a kind
    user, liked = user[some], liked[some]
    over = (weight[some] * taken.sum() / taken[liked]).astype(np.float32)
    visits = sparse.csr_matrix((over, (user, liked)), (query.users.num_rows, len(names)))
    return visits, total, kind[new]
