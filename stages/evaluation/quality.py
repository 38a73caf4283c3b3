"""What the published list, each stage's order, each channel and the baselines are worth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from narrows.columns import KEPT, RANK, USER
from stages.evaluation import baselines
from stages.evaluation.cascade import own_rank
from stages.evaluation.judge import JudgedLists
from stages.evaluation.ledger import codes, floats
from stages.evaluation.metrics import METRICS, per_user, self_information
from stages.evaluation.run import MetricRows, Run
from stages.evaluation.totals import Column, Name, Totals

PUBLISHED = ("published", "published")
STEP = "rank_after_"
"""Before the name of a step, the column of what it alone makes of the order of the room before: ``rank_after_policy``."""


def judge(parts: Iterable[Run], out: MetricRows) -> None:
    """What every list of a run is worth, the differences of lists, and their coverage.

    Of the run of a flow sample: of the stages, channels and steps alone, each user counting for as many as it stands for.

    Args:
        parts: the run, or its users some at a time.
        out: where the rows go.
    """
    found = Totals(out)
    for run in parts:
        shown, fresh = lists(run)
        for population, some in (("all", shown), ("new", shown), ("discovery", fresh)):
            worth(run, population, some, found)
        for population in ("all", "new"):
            differences(run, population, shown, found)
        for population in _by_list(run):
            of_kind = {name: each for name, each in shown.items() if name[0] in ("published", "baseline")}
            worth(run, population, of_kind, found)
        spread(run, shown, found)
    if not found.users("fallback"):  # everybody has an own list
        found.leave_out("listed", "fallback")
    found.write()


def _by_list(run: Run) -> tuple[str, ...]:
    """Two more populations, where there is a fallback: ``listed`` and ``fallback``, users with and without a list."""
    if run.sample is not None or run.fallback is None:
        return ()
    run.judge.split("listed", "fallback", codes(pc.unique(run.published[USER]), run.judge.users))
    return ("listed", "fallback")


def lists(run: Run) -> tuple[dict[Name, JudgedLists], dict[Name, JudgedLists]]:
    """Every list twice: as it is, and with only the items new to the user moved up.

    A stage's list is the first items of what it kept, by its own rank; a channel's is the first it proposed.
    """
    judge, n = run.judge, run.depth
    shown = {PUBLISHED: judge.lists(run.shown)}
    fresh = {PUBLISHED: judge.candidates(run.shown).top(run.shown[RANK], n, new=True)}
    for room, table in run.rooms.items():
        pool = judge.candidates(table)
        for name, rank in orders(run.rooms, room).items():
            shown[name] = pool.top(rank, n)
            fresh[name] = pool.top(rank, n, new=True)
    if run.sample is not None:
        return shown, fresh
    given = (judge, run.users, run.items, run.step, n)
    popular, unseen, own = (("baseline", name) for name in ("popular", "popular_new", "own_then_popular"))
    shown |= {popular: baselines.popular(*given), unseen: baselines.popular(*given, new=True)}
    shown[own] = baselines.own_then_popular(*given)
    fresh |= dict.fromkeys((popular, unseen, own), shown[unseen])  # nothing of one's own is new
    return shown, fresh


def orders(rooms: Mapping[str, pa.Table], room: str) -> dict[Name, np.ndarray]:
    """The orders that a narrowing room's table holds: name to f64 (rows,), +inf = not in this order.

    The ``<name>_rank`` columns of the first room are the orders of channels.

    Args:
        rooms: per narrowing room, in order, its kept and removed rows.
        room: the room's name.
    """
    table, own, channels = rooms[room], own_rank(rooms, room), room == next(iter(rooms))
    ranks = {("stage", room): np.where(table[KEPT].to_numpy(), floats(table[own]), np.inf)}
    for column in table.column_names:
        if channels and column.endswith("_rank") and column != own:
            ranks["channel", column.removesuffix("_rank")] = floats(table[column])
        if column.startswith(STEP):
            ranks["policy", column.removeprefix(STEP)] = floats(table[column])
    return ranks


def worth(run: Run, population: str, judged: Mapping[Name, JudgedLists], found: Totals) -> None:
    """Recall, NDCG, MRR, hit rate and novelty of every list, with intervals over users.

    Novelty is the mean self-information of what a user was shown, so users without a list have none;
    everywhere else they count as zero; ``users_without_list`` says how many have no list of their own.
    """
    judged_users, judge = run.judge.populations[population], run.judge
    users, weight = len(judged_users.positives), run.judged_weight(population)
    surprise = _surprise(run)
    columns: list[Column] = []
    for name, each in _judged_here(run, judged):
        hits = judge.hits(each, population, run.depth)
        for k in run.cutoffs:
            values = per_user(hits, judged_users.positives, k)
            columns += [Column(name, metric, k, values[metric] * weight, weight) for metric in METRICS]
        row = judged_users.row[each.user]
        some = (row >= 0) & (each.item >= 0) & (each.place <= run.depth)
        listed = np.bincount(row[some], minlength=users)
        bits = np.bincount(row[some], surprise[each.item[some]], users) / np.maximum(listed, 1)
        columns.append(Column(name, "novelty", run.depth, bits * weight, (listed > 0) * weight))
    found.add(run, population, columns)
    if run.sample is None:
        own = codes(pc.unique(run.published[USER]), judge.users)
        row = judged_users.row[own[own >= 0]]
        found.count(population, PUBLISHED, "users_without_list", users - int((row >= 0).sum()))


def differences(run: Run, population: str, shown: Mapping[Name, JudgedLists], found: Totals) -> None:
    """Pairs of lists over the same users (``detail`` = the list that is subtracted), paired bootstrap.

    Each narrowing room, and each step of the last one, against the room before; the published list against every
    stage, channel and baseline.
    """
    stages = [("stage", room) for room in run.rooms]
    compared = list(zip(stages[1:], stages, strict=False))
    compared += [(name, stages[-2]) for name in shown if name[0] == "policy"]
    compared += [(PUBLISHED, name) for name in shown if name[0] in ("stage", "channel", "baseline")]
    values = {name: run.judge.per_user(each, population, run.depth) for name, each in shown.items()}
    weight = run.judged_weight(population)
    columns = [
        Column(("difference", a[1]), metric, run.depth, (values[a][metric] - values[b][metric]) * weight, weight, " ".join(b))
        for a, b in compared
        for metric in ("recall", "ndcg")
    ]  # fmt: skip
    found.add(run, population, columns, "difference")


def spread(run: Run, shown: Mapping[Name, JudgedLists], found: Totals) -> None:
    """Catalogue coverage, over the lists of all users who have one, judged or not."""
    for name, each in _judged_here(run, shown):
        if name == PUBLISHED and run.served:
            found.served[name] = run.served
            continue
        first = each.item[each.place <= run.depth]
        items, users = run.judge.items.take(pa.array(np.unique(first[first >= 0]))), each.users
        if name in found.served:
            items = pc.unique(pa.concat_arrays([items, found.served[name][0]]))
            users += found.served[name][1]
        found.served[name] = items, users


def _judged_here(run: Run, lists: Mapping[Name, JudgedLists]) -> list[tuple[Name, JudgedLists]]:
    """Of a flow sample not the published list: it is judged over all users."""
    return [(name, each) for name, each in lists.items() if run.sample is None or name != PUBLISHED]


def _surprise(run: Run) -> np.ndarray:
    """Bits per item code; an item that no known user has counts as one user's."""
    users = np.ones(len(run.judge.items), int)
    if "users_64x" in run.items.column_names:
        users[: run.items.num_rows] = run.items["users_64x"].to_numpy()
    return self_information(users, run.known_users or run.users.num_rows)
