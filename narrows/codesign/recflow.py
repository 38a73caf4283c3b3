"""Reading logs of RecFlow's shape (Liu et al., ICLR 2025, arXiv 2410.20868): its ``all_stage`` feathers as they are.

A row is a candidate of a request with flags for the stage where it ended. Sequences are made of the effective views in
the files, so the first days serve as the past of the later ones. The data set's pickles are not needed and not read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from narrows.codesign.log import Array, FlowLog, FlowLogError
from narrows.codesign.sequences import latest, matches
from narrows.world import draw

if TYPE_CHECKING:
    import pyarrow as pa

GROUPS = ("prerank_neg", "coarse_neg", "rank_neg", "rank_pos")
"""Flags of the groups that a request is sampled from: a candidate of the n-th passed n of the stages."""
STAGES = ("recall", "prerank", "coarse", "rank")
VIEW = "effective_view"
OF_REQUEST = ("request_id", "request_timestamp", "user_id", "age", "gender", "province")
OF_VIDEO = ("video_id", "author_id", "category_level_one", "upload_type", "upload_timestamp", "duration")
COLUMNS = (
    "age", "gender", "province", "hour_sin", "hour_cos", "user_views", "duration", "upload_type", "video_age_days",
    "video_views", "author_share", "category_share",
)  # fmt: skip
"""Of the flow log."""
MILLISECONDS = 100_000_000_000
"""Instants above are in milliseconds, others in seconds."""


def read(
    files: Iterable[Path], *, label: str = "rank_pos", per_group: int = 10, users: float = 1.0, seed: int = 0
) -> FlowLog:
    """Read days of a log as one flow log.

    Args:
        files: ``all_stage`` feathers, such as ``2024-01-13.feather``, in any order.
        label: the flag or feedback column that makes a candidate wanted: ``rank_pos`` as in LCRON, ``effective_view``, ...
        per_group: candidates of each request and group; 0 = all. Of fewer all are taken. How many each stage removed is
            not in the files, so a weight is relative to those that are.
        users: share of the users that are read, by a hash: all requests of a user are read or none.
        seed: of the sample.

    Raises:
        FlowLogError: a file cannot be read or lacks a column, or nothing is left.
    """
    rows = _rows(files, label, users, seed)
    reached = sum(
        (stage * (rows[flag] > 0) for stage, flag in enumerate(GROUPS, 1)), np.zeros(len(rows["user_id"]), int)
    )
    known = (reached > 0) & (reached <= len(GROUPS))  # a row of two groups contradicts itself
    request, first = np.unique(rows["request_id"], return_index=True)
    time = _seconds(rows["request_timestamp"])
    order = np.argsort(time[first], kind="stable")
    place = np.empty(len(request), np.int64)
    place[order] = np.arange(len(request))
    of_row = place[np.searchsorted(request, rows["request_id"])]
    chosen, weight = _sampled(of_row, np.where(known, reached, 0), rows["video_id"], per_group, seed)
    chosen = chosen[np.lexsort((rows["video_id"][chosen], of_row[chosen]))]
    if not len(chosen):
        raise FlowLogError(f"no row of the files is of a group: {', '.join(GROUPS)} are 0 everywhere")
    user = np.unique(rows["user_id"][first[order]], return_inverse=True)[1]
    item = np.unique(rows["video_id"], return_inverse=True)[1]
    viewed = rows[VIEW] > 0
    history = np.stack([user[of_row[viewed]], time[viewed], item[viewed]])
    sequence, views = latest(history, user, time[first[order]])
    rank = np.zeros((len(chosen), len(STAGES)), np.int32)
    rank[:, -1] = np.maximum(np.nan_to_num(rows["rank_index"][chosen]), 0)
    return FlowLog(
        stages=STAGES, columns=COLUMNS, seen_from=np.zeros(len(COLUMNS), np.int8),
        bounds=np.searchsorted(of_row[chosen], np.arange(len(request) + 1)), user=user, time=time[first[order]],
        sequence=sequence, item=(item[chosen] + 1).astype(np.int32),
        features=_features(rows, chosen, of_row, item, sequence, views, time), reached=reached[chosen].astype(np.int8),
        label=(rows[label][chosen] > 0).astype(np.float32), weight=weight[chosen].astype(np.float32),
        score=np.full((len(chosen), len(STAGES)), np.nan, np.float32), rank=rank,
    )  # fmt: skip


def _rows(files: Iterable[Path], label: str, users: float, seed: int) -> dict[str, Array]:
    """The needed columns of the chosen users' rows, all files together."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    needed = [*dict.fromkeys([*OF_REQUEST, *OF_VIDEO, *GROUPS, "rank_index", VIEW, label])]
    parts: list[pa.RecordBatch] = []
    for file in files:
        try:
            data = ds.dataset(file, format="feather")
            if missing := [name for name in needed if name not in data.schema.names]:
                raise FlowLogError(f"{file} has no column {missing[0]!r}: it is no all_stage file of RecFlow's shape")
            parts += [_of_users(batch, users, seed) for batch in data.to_batches(columns=needed)]
        except (OSError, pa.ArrowException) as error:
            raise FlowLogError(f"{file} cannot be read as a feather ({error})") from error
    parts = [part for part in parts if part.num_rows]
    if not parts:
        raise FlowLogError("the files have no row of the chosen users: give more files or a larger share of users")
    table = pa.Table.from_batches(parts)
    return {name: table[name].to_numpy() for name in needed}


def _of_users(batch: pa.RecordBatch, share: float, seed: int) -> pa.RecordBatch:
    import pyarrow as pa

    if share >= 1:
        return batch
    return batch.filter(pa.array(draw.uniform(draw.stream(seed, "users"), batch["user_id"].to_numpy()) < share))


def _sampled(request: Array, group: Array, video: Array, most: int, seed: int) -> tuple[Array, Array]:
    """The rows that are drawn, and for every row the inverse of its probability; group 0 is never drawn."""
    stages = len(GROUPS) + 1
    cell = request * stages + group
    count = np.bincount(cell, minlength=(int(request.max(initial=0)) + 1) * stages)
    order = np.lexsort((draw.uniform(draw.stream(seed, "sample"), request, video), cell))
    before = np.cumsum(count) - count
    place = np.arange(len(cell)) - before[cell[order]]
    taken = order[(place < most) | (most == 0)]
    weight = np.maximum(count[cell] / most, 1) if most else np.ones(len(cell))
    return taken[group[taken] > 0], weight


def _features(
    rows: dict[str, Array], chosen: Array, of_row: Array, item: Array, sequence: Array, views: Array, time: Array
) -> Array:
    """float32 [chosen rows, COLUMNS]."""
    request = of_row[chosen]
    angle = (time[chosen] % 86_400) * (2 * np.pi / 86_400)
    count = np.maximum((sequence > 0).sum(1), 1)
    age = (time[chosen] - _seconds(rows["upload_timestamp"][chosen])) / 86_400

    def share(name: str) -> Array:
        """How much of the sequence has the candidate's value of a column of videos."""
        of_item = np.zeros(int(item.max()) + 1, np.int64)
        of_item[item] = rows[name]
        past = np.where(sequence > 0, of_item[np.maximum(sequence - 1, 0)], -1)
        return matches(past, request, rows[name][chosen]) / count[request]

    plain = {name: rows[name][chosen] for name in COLUMNS if name in rows}
    made = {
        "hour_sin": np.sin(angle), "hour_cos": np.cos(angle), "user_views": np.log1p(views)[request],
        "video_age_days": age, "video_views": matches(sequence, request, item[chosen] + 1),
        "author_share": share("author_id"), "category_share": share("category_level_one"),
    }  # fmt: skip
    columns: Sequence[Array] = [(plain | made)[name] for name in COLUMNS]
    return np.stack(columns, 1).astype(np.float32)


def _seconds(instants: Array) -> Array:
    """Instants in seconds, whichever unit they have."""
    return np.where(instants > MILLISECONDS, instants // 1000, instants).astype(np.int64)
