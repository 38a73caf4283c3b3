"""The cascade seen from inside: calibration, survival, ledger, agreement of neighbouring stages."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from narrows.columns import KEPT, RANK, REASON, REQUEST_WEIGHT, STAGE_REACHED, USER, stage_rank, stage_score
from narrows.metrics import expected_calibration_error, reliability
from stages.evaluation.calibration import log_loss
from stages.evaluation.ledger import floats, gates, ledger, outcomes, overlap, survival, weights
from stages.evaluation.run import MetricRows, Run

CALIBRATED = "rank"
"""The room whose score claims to be a probability."""


def outcomes_of(run: Run) -> pa.Table:
    """``ledger.outcomes`` of the run, and ``new`` bool: the item was not in the user's history.

    Of a flow sample also ``request_weight``: how many users each positive's stands for.
    """
    positives = outcomes(run.truth, run.rooms, run.published, run.users, run.items)
    if run.sample is not None:
        positives = positives.append_column(REQUEST_WEIGHT, pa.array(run.weight(positives[USER])))
    return positives.append_column("new", pa.array(run.judge.candidates(positives).new))


def calibration(run: Run, bins: int, out: MetricRows) -> None:
    """Expected calibration error, log loss and table of rank_score, over every candidate that reached rank.

    ``log_loss`` has detail "one for all" where every candidate had the same probability, the share of positives.

    The label is the truth; users who took nothing in the horizon count, with labels 0. ``k`` is the bin.
    """
    table, name = run.rooms[CALIBRATED], ("calibration", CALIBRATED)
    pool = run.judge.candidates(table)
    score = floats(table[stage_score(CALIBRATED)])
    label = run.judge.is_positive(pool.user, pool.item)
    users = len(np.unique(pool.user))
    weight = None if run.sample is None else run.weight(table[USER])
    weighted = (bins, weight, weight is None)
    out.add("candidates", name, "ece", expected_calibration_error(score, label, *weighted), users)
    same = np.full(len(label), np.average(label, weights=weight) if len(label) else np.nan)
    for detail, probability in (("", score), ("one for all", same)):
        out.add("candidates", name, "log_loss", log_loss(probability, label, weight), users, detail=detail)
    for at, cells in enumerate(zip(*reliability(score, label, *weighted), strict=True), start=1):
        for metric, value in zip(("rows", "predicted", "observed"), cells, strict=True):
            out.add("candidates", name, metric, float(value), users, at)


def flow(run: Run, positives: pa.Table, out: MetricRows) -> None:
    """Survival per gate for all, new and repeated items and per user segment; the ledger for the first three.

    Args:
        run: the run.
        positives: of ``outcomes_of``.
        out: where the rows go.
    """
    new = positives["new"].to_numpy()
    groups = {"all": np.ones(len(new), bool), "new": new, "repeat": ~new}
    for population, some in groups.items():
        part = positives.filter(pa.array(some))
        _survival(run, population, part, out)
        for row in ledger(part, run.rooms).to_pylist():
            for metric in ("count", "share"):
                name = ("ledger", row[STAGE_REACHED])
                out.add(population, name, metric, row[metric], _users(part), detail=row[REASON])
    for segment in sorted(pc.unique(positives["segment"].drop_null()).to_pylist()):
        part = positives.filter(pc.field("segment") == segment)
        _survival(run, f"segment {segment}", part, out)


def widths(run: Run, out: MetricRows) -> None:
    """Candidates received and kept per room, and how far a room agrees with the order it was given.

    ``overlap`` is ``ledger.overlap`` at the list's length on the pool that reached the later room, over
    everything (detail "all") and, but for the room that made the lists, over what nobody was shown ("not shown").
    A row without the rank of the room before was not received but added, by a pin.
    """
    before = ""
    for room, table in run.rooms.items():
        name, users = ("flow", room), _users(table)
        own = own_rank(run.rooms, room)
        received = table.filter(table[before].is_valid()) if before in table.column_names else table
        out.add("candidates", name, "received", received.num_rows, users)
        out.add("candidates", name, "kept", int(pc.sum(table[KEPT]).as_py() or 0), users)
        if before in table.column_names and before != own:
            pools = {"all": None} if own == RANK else {"all": None, "not shown": run.published}
            for detail, without in pools.items():
                share = overlap(received, before, own, run.depth, without)
                out.add("candidates", name, "overlap", share, users, run.depth, detail)
        before = own


def own_rank(rooms: Mapping[str, pa.Table], room: str) -> str:
    """The column of the order in which a narrowing room left its rows: the list's, where it made lists.

    A room that only removes leaves the order of the one before it.
    """
    names, columns = list(rooms), rooms[room].column_names
    earlier = reversed(names[: names.index(room) + 1])
    return RANK if RANK in columns else next(stage_rank(name) for name in earlier if stage_rank(name) in columns)


def _survival(run: Run, population: str, positives: pa.Table, out: MetricRows) -> None:
    """``ledger.survival`` with intervals from resampling users; it counts positives, so busy users weigh more."""
    known, names = pc.unique(positives[USER]), gates(run.rooms)
    user = pc.index_in(positives[USER], value_set=known).to_numpy()
    passed, weight = positives["passed"].to_numpy(), weights(positives)
    gate_passed = [passed >= gate for gate in range(len(names) + 1)]
    counts = [np.bincount(user[some], weight[some], len(known)) for some in gate_passed]
    _, low, high = run.intervals(counts[1:] * 2, [*counts[:-1], *[counts[0]] * len(names)])
    for at, row in enumerate(survival(positives, run.rooms).to_pylist()):
        name, users = ("flow", row["gate"]), len(known)
        out.add(population, name, "survival", row["survival"], users, low=low[at], high=high[at])
        joint = {"low": low[len(names) + at], "high": high[len(names) + at]}
        out.add(population, name, "joint_survival", row["joint"], users, **joint)
        out.add(population, name, "positives_received", row["received"], users)
        out.add(population, name, "positives_passed", row["passed"], users)


def _users(table: pa.Table) -> int:
    return int(pc.count_distinct(table[USER]).as_py())
