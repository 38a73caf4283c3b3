"""The cascade seen from inside: calibration, survival, ledger, agreement of neighbouring stages."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from narrows.columns import KEPT, RANK, REASON, STAGE_REACHED, USER, stage_rank, stage_score
from narrows.metrics import expected_calibration_error, reliability
from stages.evaluation.calibration import log_loss
from stages.evaluation.ledger import GATES, NARROWING, follow, ledger, numbers, overlap, survival
from stages.evaluation.run import Numbers, Run


def fates(run: Run) -> pa.Table:
    """``flow.follow`` of the run, and ``new`` bool: the item was not in the user's history."""
    found = follow(run.truth, run.rooms, run.published, run.users, run.items)
    return found.append_column("new", pa.array(run.judge.candidates(found).new))


def calibration(run: Run, bins: int, out: Numbers) -> None:
    """Expected calibration error, log loss and table of rank_score, over every candidate that reached rank.

    ``log_loss`` has detail "one for all" where every candidate had the same probability, the share that was good.

    The label is the truth; users who took nothing in the horizon count, with labels 0. ``k`` is the bin.
    """
    table, name = run.rooms["rank"], ("calibration", "rank")
    pool = run.judge.candidates(table)
    score = numbers(table[stage_score("rank")])
    label = run.judge.good(pool.user, pool.item)
    users = len(np.unique(pool.user))
    out.add("candidates", name, "ece", expected_calibration_error(score, label, bins), users)
    same = np.full(len(label), label.mean() if len(label) else np.nan)
    for detail, said in (("", score), ("one for all", same)):
        out.add("candidates", name, "log_loss", log_loss(said, label), users, detail=detail)
    for at, cells in enumerate(zip(*reliability(score, label, bins), strict=True), start=1):
        for metric, value in zip(("rows", "predicted", "observed"), cells, strict=True):
            out.add("candidates", name, metric, float(value), users, at)


def flow(run: Run, good: pa.Table, out: Numbers) -> None:
    """Survival per gate for all, new and repeated items and per user segment; the ledger for the first
    three.
    """
    new = good["new"].to_numpy()
    groups = {"all": np.ones(len(new), bool), "new": new, "repeat": ~new}
    for population, some in groups.items():
        part = good.filter(pa.array(some))
        _survival(run, population, part, out)
        for row in ledger(part).to_pylist():
            for metric in ("count", "share"):
                name = ("ledger", row[STAGE_REACHED])
                out.add(population, name, metric, row[metric], _users(part), detail=row[REASON])
    for segment in sorted(pc.unique(good["segment"].drop_null()).to_pylist()):
        part = good.filter(pc.field("segment") == segment)
        _survival(run, f"segment {segment}", part, out)


def widths(run: Run, out: Numbers) -> None:
    """Candidates received and kept per room, and how far a room agrees with the order it was given.

    ``overlap`` is ``flow.overlap`` at the list's length on the pool that reached the later room, over
    everything (detail "all") and over what nobody was shown (detail "not shown").
    """
    before = ""
    for room in NARROWING:
        table, name = run.rooms[room], ("flow", room)
        users = _users(table)
        out.add("candidates", name, "received", table.num_rows, users)
        out.add("candidates", name, "kept", int(pc.sum(table[KEPT]).as_py() or 0), users)
        own = RANK if room == "rerank" else stage_rank(room)
        if before in table.column_names:
            pools = {"all": None} if room == "rerank" else {"all": None, "not shown": run.published}
            for detail, without in pools.items():
                share = overlap(table, before, own, run.depth, without)
                out.add("candidates", name, "overlap", share, users, run.depth, detail)
        before = own


def _survival(run: Run, population: str, good: pa.Table, out: Numbers) -> None:
    """``flow.survival`` with intervals from resampling users; it counts good items, so busy users weigh
    more.
    """
    known = pc.unique(good[USER])
    user = pc.index_in(good[USER], value_set=known).to_numpy()
    passed = good["passed"].to_numpy()
    counts = [np.bincount(user[passed >= gate], minlength=len(known)) for gate in range(len(GATES) + 1)]
    gates = len(GATES)
    _, low, high = run.intervals(counts[1:] * 2, [*counts[:-1], *[counts[0]] * gates])
    for at, row in enumerate(survival(good).to_pylist()):
        name, users = ("flow", row["gate"]), len(known)
        out.add(population, name, "survival", row["survival"], users, low=low[at], high=high[at])
        joint = {"low": low[gates + at], "high": high[gates + at]}
        out.add(population, name, "joint_survival", row["joint"], users, **joint)
        out.add(population, name, "good_received", row["received"], users)
        out.add(population, name, "good_passed", row["passed"], users)


def _users(table: pa.Table) -> int:
    return int(pc.count_distinct(table[USER]).as_py())
