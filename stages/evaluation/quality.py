"""What the published list, each stage's order, each channel and the baselines are worth."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from narrows.columns import KEPT, RANK, stage_rank
from stages.evaluation import baselines
from stages.evaluation.judge import Lists
from stages.evaluation.ledger import NARROWING, numbers
from stages.evaluation.metrics import METRICS, coverage, self_information
from stages.evaluation.run import Numbers, Run

Name = tuple[str, str]
"""A list's kind (published, stage, policy, channel, baseline) and its name."""
PUBLISHED = ("published", "published")
POLICY = ("diversity", "policy", "exploration")
"""What rerank did, each step alone on rank's order: column ``rank_after_<step>``."""


def lists(run: Run) -> tuple[dict[Name, Lists], dict[Name, Lists]]:
    """Every list twice: as it is, and with only the items new to the user moved up.

    A stage's list is the first items of what it kept, by its own rank; a channel's is the first it proposed.
    """
    judge, n = run.judge, run.depth
    shown = {PUBLISHED: judge.lists(run.published)}
    fresh = {PUBLISHED: judge.candidates(run.published).top(run.published[RANK], n, new=True)}
    for room in NARROWING:
        pool = judge.candidates(run.rooms[room])
        for name, rank in orders(room, run.rooms[room]).items():
            shown[name] = pool.top(rank, n)
            fresh[name] = pool.top(rank, n, new=True)
    given = (judge, run.users, run.items, n)
    popular, own = ("baseline", "popular_7d"), ("baseline", "own_then_popular")
    shown |= {popular: baselines.popular(*given), own: baselines.own_then_popular(*given)}
    fresh[popular] = fresh[own] = baselines.popular(*given, new=True)  # nothing of one's own is new
    return shown, fresh


def orders(room: str, table: pa.Table) -> dict[Name, np.ndarray]:
    """The orders that a narrowing room's table holds: name to f64 (rows,), +inf = not in this order."""
    own = numbers(table[RANK if room == "rerank" else stage_rank(room)])
    found = {("stage", room): np.where(table[KEPT].to_numpy(), own, np.inf)}
    if room == "recall":
        for column in table.column_names:
            if column.endswith("_rank") and column != stage_rank(room):
                found["channel", column.removesuffix("_rank")] = numbers(table[column])
    if room == "rerank":
        for step in POLICY:
            if f"rank_after_{step}" in table.column_names:
                found["policy", step] = numbers(table[f"rank_after_{step}"])
    return found


def worth(run: Run, population: str, judged: Mapping[Name, Lists], out: Numbers) -> None:
    """Recall, NDCG, MRR, hit rate and novelty of every list, with intervals over users.

    Novelty is the mean self-information of what a user was shown, so users without a list have none;
    everywhere else they count as zero, and ``users_without_list`` says how many they are.
    """
    who, judge = run.judge.populations[population], run.judge
    users = len(who.good)
    surprise = _surprise(run)
    names: list[tuple[Name, str, int]] = []
    top: list[np.ndarray] = []
    bottom: list[np.ndarray] = []
    for name, each in judged.items():
        for k in run.cutoffs:
            found = judge.per_user(each, population, k)
            names += [(name, metric, k) for metric in METRICS]
            top += [found[metric] for metric in METRICS]
            bottom += [np.ones(users)] * len(METRICS)
        row = who.row[each.user]
        some = (row >= 0) & (each.item >= 0) & (each.place <= run.depth)
        listed = np.bincount(row[some], minlength=users)
        bits = np.bincount(row[some], surprise[each.item[some]], users)
        names.append((name, "novelty", run.depth))
        top.append(bits / np.maximum(listed, 1))
        bottom.append((listed > 0).astype(float))
    value, low, high = run.intervals(top, bottom)
    for at, (name, metric, k) in enumerate(names):
        out.add(population, name, metric, value[at], users, k, low=low[at], high=high[at])
    row = who.row[judged[PUBLISHED].user]
    missing = users - len(np.unique(row[row >= 0]))
    out.add(population, PUBLISHED, "users_without_list", missing, users)


def differences(run: Run, population: str, shown: Mapping[Name, Lists], out: Numbers) -> None:
    """Pairs of lists over the same users (``detail`` = the list that is subtracted), paired bootstrap.

    Each scoring stage against the one before; each step of rerank, and rerank, against rank; the published
    list against every stage, channel and baseline.
    """
    stages = [("stage", room) for room in NARROWING]
    compared = list(zip(stages[1:], stages, strict=False))
    compared += [(name, ("stage", "rank")) for name in shown if name[0] == "policy"]
    compared += [(PUBLISHED, name) for name in shown if name[0] in ("stage", "channel", "baseline")]
    values = {name: run.judge.per_user(each, population, run.depth) for name, each in shown.items()}
    names = [(a, b, metric) for a, b in compared for metric in ("recall", "ndcg")]
    value, low, high = run.intervals([values[a][metric] - values[b][metric] for a, b, metric in names])
    users = len(run.judge.populations[population].good)
    for at, (a, b, metric) in enumerate(names):
        cells = {"k": run.depth, "detail": " ".join(b), "low": low[at], "high": high[at]}
        out.add(population, ("difference", a[1]), metric, value[at], users, **cells)


def spread(run: Run, shown: Mapping[Name, Lists], out: Numbers) -> None:
    """Catalogue coverage, over the lists of all users who have one, judged or not."""
    for name, each in shown.items():
        items = each.item[each.place <= run.depth]
        out.add("served", name, "coverage", coverage(items, run.items.num_rows), each.users, run.depth)


def _surprise(run: Run) -> np.ndarray:
    """Bits per item code; an item that no known user has counts as one user's."""
    users = np.ones(len(run.judge.items), int)
    if "users_365d" in run.items.column_names:
        users[: run.items.num_rows] = run.items["users_365d"].to_numpy()
    return self_information(users, run.users.num_rows)
