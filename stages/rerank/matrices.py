"""A shard's candidates as (users, candidates) matrices, best first, and the policy as numbers in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from narrows.stage import Shard
from stages.rerank.diversity import Codes, Mask, Matrix
from stages.rerank.policy import Policy

UNCAPPED = np.iinfo(np.int32).max


@dataclass(frozen=True)
class Matrices:
    """One row per user, one column per candidate in the rank stage's order, padded to the longest."""

    users: list[str]
    """The user of each row, in the order in which candidates name them."""
    row: Codes
    """(users, candidates), the candidate's row in the shard's table; -1 = padding."""
    score: Matrix
    """Calibrated probability from rank; 0 in padding."""
    item: Codes
    """Row in the item table; -1 = padding or an item that the table lacks."""
    added: Mask
    """Whether a pin put the candidate in, so that it has no score."""


def build(shard: Shard, received: int) -> Matrices:
    """Lay out ``shard.candidates`` by user and by (score descending, rank); rows that were added come last.

    Args:
        shard: with candidates.
        received: how many of them came from rank; the rows after these were added by a pin and count with score 0.

    Raises:
        ValueError: a candidate has no ``rank_score``, or one that is not a finite number of 0 or more.
    """
    table = shard.candidates
    assert table is not None
    score, added = table["rank_score"].cast(pa.float64()).to_numpy(), np.arange(table.num_rows) >= received
    score = np.where(added, 0.0, score)
    if not (np.isfinite(score).all() and (score >= 0).all()):  # a null arrives here as nan
        raise ValueError("rank_score must be a probability for every candidate; run the rank room before rerank")
    coded = pc.dictionary_encode(table["user_id"].combine_chunks())
    users = coded.dictionary.to_pylist()
    code = coded.indices.to_numpy()
    order = np.lexsort((pc.fill_null(table["rank_rank"], UNCAPPED).to_numpy(), added, -score, code))
    size = np.bincount(code, minlength=len(users))
    column = np.arange(len(order)) - np.repeat(np.cumsum(size) - size, size)
    row = np.full((len(users), size.max(initial=0)), -1, np.int32)
    row[code[order], column] = order
    item = pc.fill_null(pc.index_in(table["item_id"], value_set=shard.items["item_id"].combine_chunks()), -1)
    return Matrices(users, row, spread(score, row, 0.0), spread(item.to_numpy(), row, -1), spread(added, row, False))


def spread(values: NDArray, at: Codes, padding: float) -> NDArray:
    """``values`` at the positions ``at``, with ``padding`` where a position is -1; dtype of ``values``."""
    if not len(values):
        return np.full(at.shape, padding, values.dtype)
    return np.where(at >= 0, values[at], np.asarray(padding, values.dtype))


def item_codes(items: pa.Table, column: str, at: Codes) -> tuple[Codes, list[str]]:
    """An item column as codes per candidate, and the texts they number; -1 = null, or no such column."""
    if column not in items.column_names:
        return np.full(at.shape, -1, np.int32), []
    coded = pc.dictionary_encode(items[column].cast(pa.string()).combine_chunks())
    codes = pc.fill_null(coded.indices, -1).to_numpy().astype(np.int32)
    return spread(codes, at, -1), coded.dictionary.to_pylist()


def item_values(items: pa.Table, column: str, values: dict[str, float], default: float, at: Codes) -> Matrix:
    """The number that ``values`` gives a candidate by its text in ``column``, else ``default``."""
    number = np.full(items.num_rows, default)
    if column in items.column_names and values:
        keys = pa.array(list(values), pa.string())
        code = pc.fill_null(pc.index_in(items[column].cast(pa.string()), value_set=keys), -1).to_numpy()
        number = np.where(code >= 0, np.array(list(values.values()), float)[code], default)
    return spread(number, at, default)


SUBJECTS = {"items": "item_id", "categories": "category", "brands": "brand"}


def unknown_names(policy: Policy, items: pa.Table) -> list[str]:
    """The names in the policy's rules that no item has, one line each: most likely a typing error."""
    rules = [(f"block.{subject}", subject, names) for subject, names in policy.block.items()]
    rules += [(f"boost.{subject}", subject, list(names)) for subject, names in policy.boost.items()]
    rules += [("cap.categories", "categories", list(policy.category_caps))]
    rules += [("pin", "items", [pin.item for pin in policy.pins])]
    lines = []
    for rule, subject, names in rules:
        column = SUBJECTS[subject]
        known = (
            pc.unique(items[column].cast(pa.string())) if column in items.column_names else pa.array([], pa.string())
        )
        known_names = pc.is_in(pa.array(names, pa.string()), value_set=known).to_pylist()
        lines += [
            f"{rule}: no item has {name!r}" for name, exists in zip(names, known_names, strict=True) if not exists
        ]
    return lines


def blocked(policy: Policy, items: pa.Table, at: Codes) -> Mask:
    """Which candidates the policy never shows."""
    mask = np.zeros(at.shape, bool)
    for subject, names in policy.block.items():
        mask |= item_values(items, SUBJECTS[subject], dict.fromkeys(names, 1.0), 0.0, at) > 0
    return mask


def boosts(policy: Policy, items: pa.Table, at: Codes) -> Matrix:
    """The product of the factors that fit a candidate; 1 = none."""
    factor = np.ones(at.shape)
    for subject, factors in policy.boost.items():
        factor *= item_values(items, SUBJECTS[subject], factors, 1.0, at)
    return factor


def caps(policy: Policy, items: pa.Table, at: Codes) -> NDArray[np.int32] | None:
    """The cap that holds for each candidate's category; None where the policy has none."""
    if not policy.cap and not policy.category_caps:
        return None
    cap = item_values(items, "category", {k: float(v) for k, v in policy.category_caps.items()}, policy.cap, at)
    return np.where(cap > 0, cap, UNCAPPED).astype(np.int32)
