"""The examples as rank learns from them: window by window, grouped by user; and who is held out for the stack."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.lookup import Array, Catalogue, codes, column, stacked
from features.pair import FEATURES
from narrows.columns import ASOF, ITEM, LABEL, LABEL_WEIGHT, REQUEST_WEIGHT, USER, WEIGHT, stage_rank, stage_score
from narrows.stage import Asof, Past
from stages.rank.inputs import CandidateLists, Encoder, Labels

if TYPE_CHECKING:
    from stages.rank import Rank

SHARE_OF_SAME_WINDOW = 0.25
"""Of the users, at most so many are held out where there is no older window to learn from."""
LEARNED = (ITEM, LABEL, WEIGHT, REQUEST_WEIGHT, LABEL_WEIGHT)
"""The columns of an example that are read beside the features."""


@dataclass
class Window:
    """Examples of one as-of, grouped by user in the profiles' order."""

    users: pa.Table
    rows: pa.Table
    """What is learned beside the features; of those who are held out, all columns."""
    user: Array
    dense: Array
    """The dense columns of the rows, float32 [rows, columns]."""

    def lists(self, encoder: Encoder, catalogue: Catalogue) -> tuple[CandidateLists, Labels]:
        """The rows as the networks read them."""
        item = codes(self.rows[ITEM], catalogue.ids)
        weights = column(self.rows, WEIGHT), request_weight(self.rows), column(self.rows, LABEL_WEIGHT)
        lists = encoder.lists(self.users, catalogue, self.user, item, encoder.scale(self.dense))
        return lists, Labels(column(self.rows, LABEL), *weights)


def windows_of(room: Rank, examples: pa.Table, profiles: dict[Asof, pa.Table]) -> tuple[list[Window], list[Window]]:
    """The examples by as-of, oldest first: those that networks learn from, and those that only the stack learns from.

    These are of a share of the users of the latest `held_windows` with scores, where there are any.
    """
    learned, held, scored = [], [], 0
    alone = len(examples[ASOF].unique()) <= room.held_windows  # then the networks need users of the same window
    share = min(room.held_share, SHARE_OF_SAME_WINDOW) if alone else room.held_share
    narrow = [name for name in LEARNED if name in examples.column_names]
    name = stage_score("prerank")
    for asof in sorted(profiles, reverse=True):
        rows = examples.filter(pc.equal(examples[ASOF], pa.scalar(str(asof))))
        users = profiles[asof].combine_chunks()
        user = codes(rows[USER], users[USER].combine_chunks())
        order = np.argsort(user, kind="stable")
        order = order[user[order] >= 0]
        if not len(order):
            continue
        known = np.isfinite(column(rows, name))[order] if name in rows.column_names else np.zeros(len(order), bool)
        if known.any() and scored < room.held_windows:
            scored += 1
            ids = users[USER].to_pylist()
            chosen = np.array([zlib.crc32(text.encode()) % 1000 < 1000 * share for text in ids], bool)[user[order]]
            out = order[chosen & known & (column(rows, stage_rank("prerank"))[order] <= room.held_depth)]
            order = order[~chosen]  # rows below the list's depth: neither for the stack nor for the networks
            held.append(Window(users, rows.take(pa.array(out)), user[out], stacked(rows, tuple(FEATURES), out)))
        dense = stacked(rows, tuple(FEATURES), order)
        learned.append(Window(users, rows.select(narrow).take(pa.array(order)), user[order], dense))
    return learned[::-1], held[::-1]


def sequences_of(examples: pa.Table, profiles: Past) -> dict[Asof, pa.Table]:
    """By as-of the sequences of the users who have examples, in the order of the profiles; others are not read."""
    columns = ["user_id", "sequence_item", "sequence_days"]
    if REQUEST_WEIGHT not in examples.column_names:
        return {asof: table.arrow(columns) for asof, table in profiles.items()}
    found = {}
    for asof, table in profiles.items():
        users = examples.filter(pc.equal(examples[ASOF], pa.scalar(str(asof))))[USER].unique()
        found[asof] = table.arrow(columns, pc.field(USER).isin(users))
    return found


def request_weight(rows: pa.Table) -> Array:
    """How many requests each row's stands for, float32 (rows,); 1 where all were narrowed."""
    if REQUEST_WEIGHT not in rows.column_names:
        return np.ones(rows.num_rows, np.float32)
    return np.nan_to_num(column(rows, REQUEST_WEIGHT), nan=1.0)
