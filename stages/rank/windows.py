"""The examples as rank learns from them: window by window, grouped by user; and who is held out for the stack."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.lookup import Array, Catalogue, codes, column
from features.pair import FEATURES
from narrows.columns import ASOF, ITEM, LABEL, LABEL_WEIGHT, REQUEST_WEIGHT, USER, WEIGHT, stage_rank, stage_score
from narrows.stage import Asof, Past
from stages.rank.inputs import CandidateLists, Encoder, Labels, dense_columns

if TYPE_CHECKING:
    from stages.rank import Rank

SHARE_OF_SAME_WINDOW = 0.25
"""Of the users, at most so many are held out where there is no older window to learn from."""
LEARNED = (ITEM, LABEL, WEIGHT, REQUEST_WEIGHT, LABEL_WEIGHT)
"""The columns of an example that are read beside the features."""


@dataclass
class Window:
    """The examples of one as-of, grouped by user in the profiles' order."""

    users: pa.Table
    rows: pa.Table
    user: Array
    held: Array
    """Which rows only the stack learns from."""
    dense: Array
    """The dense columns of the rows, float32 [rows, columns]."""

    def part(self, encoder: Encoder, catalogue: Catalogue, which: Array) -> tuple[CandidateLists, Labels]:
        """Some rows as the networks read them."""
        rows = self.rows.select([name for name in LEARNED if name in self.rows.column_names]).filter(pa.array(which))
        item = codes(rows[ITEM], catalogue.ids)
        weights = column(rows, WEIGHT), request_weight(rows), column(rows, LABEL_WEIGHT)
        labels = Labels(column(rows, LABEL), *weights)
        return encoder.lists(self.users, catalogue, self.user[which], item, self.dense[which]), labels


def windows_of(room: Rank, examples: pa.Table, profiles: dict[Asof, pa.Table]) -> list[Window]:
    """The examples by as-of, oldest first; held are a share of the users of the latest `held_windows` with scores."""
    windows, scored = [], 0
    alone = len(examples[ASOF].unique()) <= room.held_windows  # then the networks need users of the same window
    share = min(room.held_share, SHARE_OF_SAME_WINDOW) if alone else room.held_share
    for asof in sorted(profiles, reverse=True):
        rows = examples.filter(pc.equal(examples[ASOF], pa.scalar(str(asof))))
        users = profiles[asof].combine_chunks()
        user = codes(rows[USER], users[USER].combine_chunks())
        order = np.argsort(user, kind="stable")
        order = order[user[order] >= 0]
        if not len(order):
            continue
        rows, user = rows.take(pa.array(order)), user[order]
        name = stage_score("prerank")
        known = np.isfinite(column(rows, name)) if name in rows.column_names else np.zeros(len(user), bool)
        held = np.zeros(len(user), bool)
        if known.any() and scored < room.held_windows:
            scored += 1
            ids = users[USER].to_pylist()
            chosen = np.array([zlib.crc32(text.encode()) % 1000 < 1000 * share for text in ids], bool)
            held = chosen[user] & known & (column(rows, stage_rank("prerank")) <= room.held_depth)
            out = chosen[user] & ~held  # rows below the list's depth: not for the stack, nor for the networks
            rows, user, held = rows.filter(pa.array(~out)), user[~out], held[~out]
        windows.append(Window(users, rows, user, held, dense_columns(rows, tuple(FEATURES))))
    return windows[::-1]


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
