"""The ledger: for every positive, the stage that lost it and why.

A positive is a (user_id, item_id) of the truth. To be shown it must pass the gates in order: some channel
proposes it, then each narrowing room keeps it, then it is published.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from narrows.candidates import top
from narrows.columns import ITEM, KEPT, RANK, REASON, REQUEST_WEIGHT, STAGE_REACHED, USER


def gates(rooms: Iterable[str]) -> tuple[str, ...]:
    """The gates that a positive passes, in order; ``rooms`` are the narrowing rooms."""
    return ("channels", *rooms, "published")


def stages(rooms: Iterable[str]) -> tuple[str, ...]:
    """By the number of gates that a positive passed, the stage that received and lost it; ``shown`` = none did."""
    return ("none", *rooms, "recommendations", "shown")


def codes(values: pa.ChunkedArray | pa.Array, vocabulary: pa.Array) -> np.ndarray:
    """The position of each value in ``vocabulary`` as int64 (rows,); -1 where it is not there."""
    position = pc.fill_null(pc.index_in(values.cast(vocabulary.type), value_set=vocabulary), -1)
    return position.to_numpy().astype(np.int64)


def find_pairs(wanted: pa.Table, table: pa.Table) -> np.ndarray:
    """The row of ``table`` that holds each (user_id, item_id) of ``wanted``: int64 (wanted rows,), -1 for none."""
    if not wanted.num_rows or not table.num_rows:
        return np.full(wanted.num_rows, -1)
    users, items = (pc.unique(wanted[name]) for name in (USER, ITEM))
    width = len(items)
    user, item = codes(table[USER], users), codes(table[ITEM], items)
    rows = np.flatnonzero((user >= 0) & (item >= 0))
    keys = user[rows] * width + item[rows]
    order = np.argsort(keys, kind="stable")
    keys, rows = np.append(keys[order], -1), np.append(rows[order], -1)  # the sentinel answers "not there"
    sought = codes(wanted[USER], users) * width + codes(wanted[ITEM], items)
    at = np.searchsorted(keys[:-1], sought)
    return np.where(keys[at] == sought, rows[at], -1)


def pairs(table: pa.Table) -> pa.Table:
    """The distinct (user_id, item_id) of a table, in order of first appearance."""
    grouped = table.select([USER, ITEM]).group_by([USER, ITEM], use_threads=False).aggregate([])
    return grouped.select([USER, ITEM])


def outcomes(
    truth: pa.Table,
    rooms: Mapping[str, pa.Table],
    published: pa.Table,
    users: pa.Table | None = None,
    items: pa.Table | None = None,
) -> pa.Table:
    """The outcome of every positive.

    Args:
        truth: user_id, item_id of the horizon; duplicates count once.
        rooms: per narrowing room, in order, its kept and removed rows: user_id, item_id, kept bool, reason str or null.
        published: user_id, item_id, rank of the lists that were published.
        users: user_profiles (user_id, segment): tells a user whom nobody knew from one whose channels missed.
        items: item_profiles (item_id): the same for items.

    Returns:
        One row per positive: user_id, item_id, passed int8 (how many of ``gates`` it passed), stage_reached
        str (the stage that lost it, or ``shown``), reason str, position int32 (null unless shown), segment
        str or null. A row that was shown without passing every gate (of a pin, of the fallback) is ``shown``.
    """
    positives, every_gate = pairs(truth), len(gates(rooms))
    passed = np.zeros(positives.num_rows, np.int8)
    reason = np.full(positives.num_rows, "no channel proposed it", object)
    for kind, known, column in (("item", items, ITEM), ("user", users, USER)):
        if known is not None:
            reason[codes(positives[column], known[column].combine_chunks()) < 0] = f"{kind} unknown at the as-of"
    for gate, (room, table) in enumerate(rooms.items(), start=1):
        row = find_pairs(positives, table)
        received = (row >= 0) & (passed == (gate if gate > 1 else 0))
        if gate == 1:
            passed[received] = 1
        else:
            reason[(passed == gate) & ~received] = f"vanished before {room}"
        why = table[REASON].take(pa.array(row[received])).to_pylist()
        kept = table[KEPT].take(pa.array(row[received])).to_numpy()
        reason[received] = [text or f"removed by {room}" for text in why]
        passed[np.flatnonzero(received)[kept]] = gate + 1
    row = find_pairs(positives, published)
    shown, survived = row >= 0, passed == every_gate - 1
    position = published[RANK].cast(pa.int32()).take(pa.array(row, mask=~shown))
    reason[survived] = "not published"
    reason[shown] = "shown"
    passed[survived & shown] = every_gate
    reached = np.array(stages(rooms), object)[passed]
    reached[shown] = "shown"
    segment = pa.nulls(positives.num_rows, pa.string())
    if users is not None and "segment" in users.column_names:
        at = codes(positives[USER], users[USER].combine_chunks())
        segment = users["segment"].cast(pa.string()).take(pa.array(at, mask=at < 0))
    return (
        positives.append_column("passed", pa.array(passed))
        .append_column(STAGE_REACHED, pa.array(reached, pa.string()))
        .append_column(REASON, pa.array(reason, pa.string()))
        .append_column("position", position)
        .append_column("segment", segment)
    )


def head(reason: str) -> str:
    """A reason without its details: ``policy:cap:DAIRY`` is ``policy:cap``, ``blocked: recalled item`` is
    ``blocked``.
    """
    return ":".join(reason.split(": ")[0].split(":")[:2])


def weights(positives: pa.Table) -> np.ndarray:
    """How many positives each one stands for: f64 (rows,); 1 unless they are of a flow sample."""
    if REQUEST_WEIGHT not in positives.column_names:
        return np.ones(positives.num_rows)
    return positives[REQUEST_WEIGHT].to_numpy().astype(float)


def ledger(positives: pa.Table, rooms: Iterable[str]) -> pa.Table:
    """Where the positives ended: stage_reached str, reason str, count int64, share f64 of all positives.

    Ordered as the cascade runs, the most frequent reason first; the counts sum to the positives. Positives of a flow
    sample count for as many as they stand for.

    Args:
        positives: of ``outcomes``.
        rooms: the narrowing rooms, in order.
    """
    counts: dict[tuple[str, str], float] = {}
    ends = (positives[STAGE_REACHED].to_pylist(), positives[REASON].to_pylist(), weights(positives).tolist())
    for stage, reason, weight in zip(*ends, strict=True):
        counts[stage, head(reason)] = counts.get((stage, head(reason)), 0) + weight
    total = sum(counts.values())
    order = stages(rooms)
    rows = sorted(counts.items(), key=lambda row: (order.index(row[0][0]), -row[1], row[0][1]))
    return pa.table(
        {
            STAGE_REACHED: pa.array([stage for (stage, _), _ in rows], pa.string()),
            REASON: pa.array([reason for (_, reason), _ in rows], pa.string()),
            "count": pa.array([round(count) for _, count in rows], pa.int64()),
            "share": pa.array([count / total for _, count in rows], pa.float64()),
        }
    )


def survival(positives: pa.Table, rooms: Iterable[str]) -> pa.Table:
    """``P(positive passes gate | passed the gates before)``, counted over positives (a busy user weighs more).

    Args:
        positives: of ``outcomes``.
        rooms: the narrowing rooms, in order.

    Returns:
        One row per gate: gate str, received int64 (the denominator), passed int64, survival f64 (null where
        nothing was received), joint f64 (the product so far = passed / all positives). An item that was
        shown without passing every gate (a pinned or fallback row) counts where the cascade lost it.
    """
    names, passed, weight = gates(rooms), positives["passed"].to_numpy(), weights(positives)
    counts = np.array([weight[passed >= gate].sum() for gate in range(len(names) + 1)])
    received, through = counts[:-1], counts[1:]
    return pa.table(
        {
            "gate": list(names),
            "received": np.rint(received).astype(np.int64),
            "passed": np.rint(through).astype(np.int64),
            "survival": pa.array(through / np.maximum(received, 1), mask=received == 0),
            "joint": through / max(counts[0], 1),
        }
    )


def overlap(table: pa.Table, first: str, second: str, n: int, without: pa.Table | None = None) -> float:
    """How far two orders of one pool agree: mean over users of ``|top n by first & top n by second| / min(n,
    pool)``.

    Args:
        table: the pool that reached the later stage: user_id, item_id and both rank columns (1 = best).
        first: rank column of the earlier stage.
        second: rank column of the later stage; null ranks come last.
        without: (user_id, item_id) left out of the pool, e.g. the published rows: what nobody was shown.

    Returns:
        A number in [0, 1]; nan where the pool is empty.
    """
    if without is not None:
        table = table.filter(pa.array(find_pairs(table.select([USER, ITEM]), without) < 0))
    if not table.num_rows:
        return float("nan")
    vocabulary = pc.unique(table[USER])
    user = codes(table[USER], vocabulary)
    pool = np.minimum(np.bincount(user, minlength=len(vocabulary)), n)
    both = top(user, floats(table[first]), n) & top(user, floats(table[second]), n)
    return float(np.mean(np.bincount(user[both], minlength=len(vocabulary)) / pool))


def floats(column: pa.ChunkedArray) -> np.ndarray:
    """A numeric column as f64 (rows,), nulls as +inf (the worst rank)."""
    return pc.fill_null(column.cast(pa.float64()), np.inf).to_numpy()
