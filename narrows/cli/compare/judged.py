"""The lists of recorded runs, held against the truth user by user: what pairing two runs needs.

The tables are read by the versions that the records name, so a run is comparable after others of its as-of. Lists are
judged by the evaluation room's own code, and intervals are drawn as it draws them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from narrows.asof import Asof
from narrows.cli.report.summary import PUBLISHER
from narrows.config.sections import length_of
from narrows.durations import parse
from narrows.stage import Recent, Table
from narrows.store.partitions import StoreError, open_tables

if TYPE_CHECKING:
    import numpy as np

METRICS = ("ndcg", "recall")
Values = dict[tuple[str, str], "np.ndarray"]
"""Per list (``published`` or a narrowing room) and metric: f64 (judged users,), by ascending user id."""


@dataclass(frozen=True)
class Side:
    """One recorded run and where its tables lie."""

    state: Path
    record: dict[str, Any]

    @cached_property
    def asof(self) -> Asof:
        return Asof.parse(self.record["asof"], length_of(self.record["grain"]))

    @property
    def is_judged(self) -> bool:
        return bool(self.record["facts"]["users"])

    def table(self, room: str, version: str = "", asof: Asof | None = None) -> Table:
        """The version of a room's table that the run made or found.

        Raises:
            StoreError: it was deleted.
        """
        version = version or self.record["tables"][room]["version"]
        place = self.record.get("store") or self.state / "tables"
        store = open_tables(place, self.state, self.asof.grain)
        if table := store.find(room, asof or self.asof, version):
            return table
        raise StoreError(
            f"the version {version} of {room} as of {asof or self.asof} is gone from {place}: run "
            f"{self.record['number']} cannot be compared. Run its design again."
        )

    @cached_property
    def settings(self) -> Any:
        """The evaluation room, with the settings that judged this run."""
        from stages.evaluation import Evaluation

        return Evaluation(**self.record["settings"]["evaluation"])


@dataclass(frozen=True)
class Judged:
    """What the lists of a run were worth to every judged user."""

    users: tuple[str, ...]
    positives: tuple[int, ...]
    values: Values

    def pairs_with(self, other: Judged) -> bool:
        """Whether both were judged on the same users, with as many positives each."""
        return (self.users, self.positives) == (other.users, other.positives)


def judge(side: Side, settings: Any) -> Judged:
    """Hold the published list of a run, and each stage's, against what its users took.

    Args:
        side: a run that was judged.
        settings: the evaluation room: cut-offs and scene.
    """
    import numpy as np

    from stages.evaluation import quality, read

    rooms = side.record["facts"]["narrowing"]
    end = side.asof + parse(side.record["horizon"])
    events = side.table("events", side.record["tables"]["evaluation"]["inputs"]["events"], end)
    profiles = side.table("user_profiles"), Recent({side.asof: side.table("item_profiles")})
    flow = {room: side.table(room) for room in rooms}
    run = read.run(settings, side.table(PUBLISHER), flow, *profiles, events.truth(side.asof), end)
    names: list[str] = []
    positives: list[Any] = []
    found: dict[tuple[str, str], list[Any]] = {}
    for part in run.judged():
        lists = {"published": part.judge.lists(part.shown)}
        for room, table in part.rooms.items():
            order = quality.orders(part.rooms, room)["stage", room]
            lists[room] = part.judge.candidates(table).top(order, part.depth)
        population = part.judge.populations["all"]
        names += np.array(part.judge.users.to_pylist(), object)[population.row >= 0].tolist()
        positives.append(population.positives)
        for name, each in lists.items():
            of_users = part.judge.per_user(each, "all", part.depth)
            for metric in METRICS:
                found.setdefault((name, metric), []).append(of_users[metric])
    order = np.argsort(np.array(names, object))
    values = {key: np.concatenate(parts)[order] for key, parts in found.items()}
    return Judged(tuple(names[k] for k in order), tuple(np.concatenate(positives)[order].tolist()), values)


def differences(base: Judged, other: Judged, settings: Any) -> dict[tuple[str, str], dict[str, Any]]:
    """``other`` less ``base`` for every list that both have: ``value``, ``low``, ``high``, ``paired``.

    Over the same users by a paired bootstrap, else as the difference of two independent means (normal approximation).
    """
    import numpy as np

    from narrows.bootstrap import intervals

    keys = [key for key in other.values if key in base.values]
    if base.pairs_with(other):
        drawn = {"resamples": settings.resamples, "confidence": settings.confidence, "seed": settings.seed}
        columns = np.column_stack([other.values[key] - base.values[key] for key in keys])
        value, low, high = intervals(columns, **drawn)
    else:
        value = np.array([other.values[key].mean() - base.values[key].mean() for key in keys])
        spread = [
            sum(float(np.var(of[key], ddof=1)) / len(of[key]) for of in (base.values, other.values)) for key in keys
        ]
        width = NormalDist().inv_cdf((1 + settings.confidence) / 2) * np.sqrt(spread)
        low, high = value - width, value + width
    paired = base.pairs_with(other)
    return {
        key: {"value": float(value[at]), "low": float(low[at]), "high": float(high[at]), "paired": paired}
        for at, key in enumerate(keys)
    }


def overlap(base: Side, other: Side, k: int, scene: str) -> dict[str, Any]:
    """How alike the published lists are, over the users who have one in both.

    Returns:
        ``users``; ``common``: the mean share of items that both lists have among their first ``k``; ``identical``: the
        share of users with the same items in the same order.
    """
    import polars as pl

    def lists(side: Side) -> Any:
        table = pl.from_arrow(side.table(PUBLISHER).arrow(["user_id", "item_id", "rank", "scene"]))
        assert isinstance(table, pl.DataFrame)
        return table.filter((pl.col("scene") == scene) & (pl.col("rank") <= k)).drop("scene")

    a, b = lists(base), lists(other)
    lengths = a.group_by("user_id").len("a").join(b.group_by("user_id").len("b"), on="user_id")
    both = a.join(b, on=["user_id", "item_id"]).group_by("user_id")
    shared = both.agg(pl.len().alias("common"), (pl.col("rank") == pl.col("rank_right")).sum().alias("same"))
    users = lengths.join(shared, on="user_id", how="left").with_columns(pl.col("common", "same").fill_null(0))
    longest = pl.max_horizontal("a", "b")
    share = users.select((pl.col("common") / longest).mean(), (pl.col("same") == longest).mean().alias("identical"))
    common, identical = share.row(0)
    return {"users": users.height, "common": common, "identical": identical}
