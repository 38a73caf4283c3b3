"""Examples in Spark: candidates of earlier as-ofs, labelled, sampled, and given their features as of then."""

from __future__ import annotations

from datetime import timedelta
from functools import reduce
from typing import TYPE_CHECKING, Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from narrows.columns import (
    ASOF,
    EVENT_TIME,
    ITEM,
    KEPT,
    KIND,
    LABEL,
    LABEL_WEIGHT,
    POSITION,
    PROPENSITY,
    REASON,
    REQUEST_WEIGHT,
    STAGE_REACHED,
    USER,
    WEIGHT,
)
from narrows.engine.spark import Parts
from narrows.engine.undo import SECOND, UNDONE_AT, kinds_in, positives_in_spark
from narrows.kinds import EXPOSURE, POSITIVE
from narrows.stage import Asof, Table
from stages.examples.featured import featured
from stages.examples.here import EXPOSED, STEPS

if TYPE_CHECKING:
    from stages.examples import Examples

    Flow = tuple[Table, Table | None, Table | None, Table | None]

FEW_EVENTS = 2_000_000
"""Up to so many events every executor may have all labels in memory, as it is a fifth less work; of more, Spark joins by keys."""
FEW_ROWS = 1_000_000
"""Up to so many survivors of a room, which the flow sample bounds, every executor may have in memory: some 80 MB."""
TASK_EVENTS = 20_000_000
"""Up to so many events one task has all examples of an as-of; of more, each of several tasks has those of some users."""


def assemble(
    session: Any, events: Table, profiles: dict[Asof, tuple[Table, Table]], flows: dict[Asof, Flow], room: Examples,
    horizon: timedelta, plugins: tuple[str, ...] = (), folder: str = "",
) -> Parts:  # fmt: skip
    """One row per request, user and item that is a positive or was sampled; saved below ``asof=<partition>``.

    Where a flow sample was narrowed, with the user's ``request_weight``.
    """
    candidates = [offered(session, asof, *flow) for asof, flow in flows.items()]
    both = reduce(lambda one, other: one.unionByName(other, allowMissingColumns=True), candidates)
    if EXPOSURE in kinds_in(events):
        shown = exposed(events.spark(session), profiles, session, list(flows), horizon)
        both = both.join(shown.withColumn("shown", F.lit(True)), [ASOF, USER, ITEM], "full")
        reached = F.when(F.col("shown"), F.lit(EXPOSED)).otherwise(F.col(STAGE_REACHED))
        both = both.withColumn(STAGE_REACHED, reached).drop("shown")
    taken = labels(positives_in_spark(events, session), list(flows), horizon)
    taken = F.broadcast(taken) if events.rows <= FEW_EVENTS else taken
    labelled = both.join(taken, [ASOF, USER, ITEM], "left")
    labelled = labelled.withColumn(LABEL, F.coalesce(F.col(LABEL), F.lit(0)).cast("int"))
    labelled = labelled.withColumn(LABEL_WEIGHT, F.coalesce(LABEL_WEIGHT, F.lit(1.0).cast("float")))
    tasks = 1 + events.rows // TASK_EVENTS
    piece = [F.pmod(F.xxhash64(USER), F.lit(tasks))] if tasks > 1 else []
    rows = sample(labelled, room).repartition(len(flows) * tasks, ASOF, *piece)
    rows = rows.sortWithinPartitions(ASOF, USER, ITEM)  # users as their profiles stand
    return Parts(rows, featured(profiles, rows.columns, horizon, plugins, folder))


def offered(
    session: Any, asof: Asof, recall: Table, prerank: Table | None, rank: Table | None, rerank: Table | None
) -> DataFrame:
    """The candidates of one request time with the last stage that each reached.

    With the pre-ranker's scores where it has narrowed them; what rank and rerank did counts where they had run.
    """
    if prerank is None:
        rows = recall.spark(session).where(KEPT).withColumn(STAGE_REACHED, F.lit("recall"))
    else:
        rows = prerank.spark(session).withColumn(STAGE_REACHED, F.when(F.col(KEPT), "prerank").otherwise("recall"))
    rows = rows.drop(KEPT, REASON)
    for stage, table in (("rank", rank), ("rerank", rerank)):
        if table:
            kept = table.spark(session).where(KEPT)
            if (
                REQUEST_WEIGHT in kept.columns
            ):  # the last room has the lists of all users, the candidates are the sample's
                kept = kept.where(F.col(REQUEST_WEIGHT).isNotNull())
            kept = kept.select(USER, ITEM, F.lit(stage).alias("reached"))
            few = table.notes.get("kept", table.rows) <= FEW_ROWS
            rows = rows.join(F.broadcast(kept) if few else kept, [USER, ITEM], "left")
            rows = rows.withColumn(STAGE_REACHED, F.coalesce("reached", STAGE_REACHED)).drop("reached")
    return rows.withColumn(ASOF, F.lit(str(asof)))


def exposed(
    events: DataFrame, profiles: dict[Asof, tuple[Table, Table]], session: Any, asofs: list[Asof], horizon: timedelta
) -> DataFrame:
    """Distinct (asof, user, item) that was shown in the horizon after the as-of, with where and how likely at first.

    A positive with a position or a propensity was shown, too. What the as-of had not heard of is left out: it has no
    features.
    """
    inside = (F.col(EVENT_TIME).cast("double") >= F.col("begin")) & (F.col(EVENT_TIME).cast("double") < F.col("end"))
    placed = (F.col(KIND) == POSITIVE) & (F.col(POSITION).isNotNull() | F.col(PROPENSITY).isNotNull())
    shown = events.where((F.col(KIND) == EXPOSURE) | placed).join(
        F.broadcast(horizons(session, asofs, horizon)), inside
    )
    first = F.min(F.struct(EVENT_TIME, POSITION, PROPENSITY)).alias("first")
    shown = shown.groupBy(ASOF, USER, ITEM).agg(first)
    shown = shown.select(
        ASOF,
        USER,
        ITEM,
        F.col("first").getField(POSITION).alias(POSITION),
        F.col("first").getField(PROPENSITY).alias(PROPENSITY),
    )
    for key, table in ((USER, 0), (ITEM, 1)):
        heard = [profiles[asof][table].spark(session).select(F.lit(str(asof)).alias(ASOF), key) for asof in asofs]
        shown = shown.join(reduce(DataFrame.unionByName, heard), [ASOF, key], "left_semi")
    return shown


def horizons(session: Any, asofs: list[Asof], horizon: timedelta) -> DataFrame:
    """The horizon after each as-of: ``begin`` and ``end`` in seconds since 1970."""
    spans = [(str(asof), asof.end.timestamp(), (asof + horizon).end.timestamp()) for asof in asofs]
    return session.createDataFrame(spans, f"{ASOF} string, begin double, end double")


def labels(positives: DataFrame, asofs: list[Asof], horizon: timedelta) -> DataFrame:
    """Distinct (asof, user, item) with a positive in the horizon after the as-of that is not undone within it.

    ``label`` is 1, ``label_weight`` the largest of the positives' weights.
    """
    spans = horizons(positives.sparkSession, asofs, horizon)
    inside = (F.col(SECOND) >= F.col("begin")) & (F.col(SECOND) < F.col("end"))
    stands = F.col(UNDONE_AT).isNull() | (F.col(UNDONE_AT) >= F.col("end"))
    rows = positives.join(F.broadcast(spans), inside & stands).groupBy(ASOF, USER, ITEM)
    return rows.agg(F.max(WEIGHT).alias(LABEL_WEIGHT)).withColumn(LABEL, F.lit(1))


def sample(labelled: DataFrame, room: Examples) -> DataFrame:
    """All positives; of the negatives a share by the stage they reached, weighing its inverse."""
    share = F.when(F.col(STAGE_REACHED) == "recall", room.negative_share).otherwise(room.hard_share)
    share = F.when(F.col(STAGE_REACHED) == EXPOSED, room.exposed_share).otherwise(share)
    drawn = F.pmod(F.xxhash64(USER, ITEM, ASOF), F.lit(STEPS)) < share * STEPS
    weight: Column = F.when(F.col(LABEL) == 1, F.lit(1.0)).otherwise(1.0 / share).cast("float")
    return labelled.withColumn(WEIGHT, weight).where((F.col(LABEL) == 1) | drawn)
