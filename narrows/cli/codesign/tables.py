"""From the tables of finished runs to a flow log: a request is a user as of a partition."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from narrows.cli.codesign.rows import Keys, channel_ranks, channels_of, drawn, fill, in_order, passed
from narrows.codesign.errors import CodesignError
from narrows.codesign.log import Array, FlowLog
from narrows.codesign.sequences import LENGTH
from narrows.columns import EVENT_TIME, ITEM, KEPT, REQUEST_WEIGHT, USER
from narrows.run import plugins
from narrows.store.partitions import Store, StoreError, open_store

if TYPE_CHECKING:
    from narrows.asof import Asof
    from narrows.settings import Settings
    from narrows.store.table import Table

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """What of the tables goes into a log."""

    candidates: int = 80
    """Of a request; 0 = all."""
    windows: int = 0
    """The latest as-ofs; 0 = all."""
    ranker_only: tuple[str, ...] = ()
    """Features that a design's pre-ranker is not to see."""


def of_runs(settings: Settings, asof: str | None = None, choice: Choice | None = None) -> FlowLog:
    """The flow log of all as-ofs up to one for which there are candidates and whose horizon is known.

    A candidate is what the first narrowing room kept. Of as-ofs that are past alone (`first_run`) later rooms have no
    table: their candidates came no farther. Labels are the positives of the horizon after the as-of, shown or not.

    Args:
        settings: of the project.
        asof: the latest as-of; None = the newest whose horizon is known.
        choice: what goes in.

    Raises:
        StoreError: there is no such partition, or its horizon has not been read.
        CodesignError: a feature of ``ranker_only`` is unknown.
    """
    choice = choice or Choice()
    plugins.import_all(plugins.modules(settings), str(settings.base))
    from features.pair import FEATURES

    columns = tuple(FEATURES)
    if unknown := [name for name in choice.ranker_only if name not in columns]:
        raise CodesignError(f"--ranker-only {unknown[0]}: there is no such feature; `narrows catalogue` lists them")
    store = open_store(settings)
    asofs, events = _asofs(settings, store, asof)
    channels = channels_of(store.current(settings.pipeline.narrowing[0], asofs[-1]), settings.pipeline.narrowing)
    parts = []
    for each in asofs[-choice.windows :]:
        LOG.info("as of %s", each)
        parts.append(_window(settings, store, each, events, columns, channels, choice))
    return _joined(parts, settings.pipeline.narrowing, columns, channels, choice)


def _asofs(settings: Settings, store: Store, asof: str | None) -> tuple[list[Asof], Table]:
    """The as-ofs that can be logged, and the newest events."""
    first, source = settings.pipeline.narrowing[0], settings.pipeline.names[0]
    known, there = store.partitions(source), store.partitions(first)
    if not known or not there:
        raise StoreError(f"there is no {source if not known else first} yet. Run: narrows run")
    events, horizon = store.current(source, known[-1]), settings.source.horizon_length
    assert events is not None
    closed = [each for each in there if (each + horizon).end <= known[-1].end]
    if asof is None:
        if not closed:
            raise StoreError(
                f"no horizon of {horizon} has passed by {known[-1]}, the newest {source}. Run a later as-of"
            )
        return closed, events
    wanted = settings.asof(asof)
    if wanted not in there:
        raise StoreError(f"no {first} as of {wanted}. Run: narrows run --asof {wanted}")
    if wanted not in closed:
        raise StoreError(
            f"what users wanted after {wanted} is not known: {source} end with {known[-1]}. Run: "
            f"narrows transform {source} --asof {wanted + horizon}"
        )
    return [each for each in closed if each <= wanted], events


@dataclass(frozen=True)
class Window:
    """One as-of of the log; ids are strings."""

    user: pa.Array
    """[requests]"""
    time: int
    sequence: pa.Array
    """[requests * LENGTH] item ids, null = none."""
    sizes: Array
    item: pa.Array
    """[rows]"""
    rows: dict[str, Array]
    weight: Array
    """float64 [requests]: 1 / the probability that the flow sample has the user."""


def _window(
    settings: Settings, store: Store, asof: Asof, events: Table, columns: Sequence[str], channels: Sequence[str],
    choice: Choice,
) -> Window:  # fmt: skip
    from features.lookup import Catalogue, Pairs, flat
    from features.pair import matrix
    from features.sequence import sequence_item

    names = settings.pipeline.narrowing
    first = settings.pipeline.room(names[0])
    tables = {name: store.current(name, asof) for name in (first.users, first.items, *names)}  # type: ignore[attr-defined]
    received = tables[names[0]]
    assert received is not None
    sampled = REQUEST_WEIGHT in received.columns
    offered = received.arrow(where=pc.field(KEPT) & pc.field(REQUEST_WEIGHT).is_valid() if sampled else pc.field(KEPT))
    users, items = (_needed(tables, name, asof) for name in (first.users, first.items))  # type: ignore[attr-defined]
    profiles = users.arrow(where=pc.field(USER).isin(pc.unique(offered[USER])))
    catalogue = Catalogue(items.arrow())
    offered = in_order(offered, profiles, catalogue.ids)
    keys = Keys(profiles[USER].combine_chunks(), catalogue.ids)
    key = keys.of(offered)
    reached = np.ones(len(key), np.int8)
    score, rank = np.full((len(key), len(names)), np.nan, np.float32), np.zeros((len(key), len(names)), np.int32)
    fill(offered, names[0], np.arange(len(key)), score[:, 0], rank[:, 0])
    for stage, name in enumerate(names[1:], 1):
        table = tables[name]
        if table is None:
            break
        passed(table, name, keys, key, reached, stage, score[:, stage], rank[:, stage])
    user = key // keys.items
    chosen, weight = drawn(offered, user, reached, choice.candidates)
    pairs = Pairs(profiles, catalogue.items, offered.take(pa.array(chosen)), catalogue)
    taken = _taken(events, asof, settings, keys)
    codes = keys.items_of(flat(profiles, "sequence_item")[1])
    sequence = sequence_item(profiles, codes, LENGTH)
    there, first_row, sizes = np.unique(user[chosen], return_index=True, return_counts=True)
    weights = offered[REQUEST_WEIGHT].to_numpy()[chosen[first_row]] if sampled else np.ones(len(there))
    return Window(
        user=profiles[USER].combine_chunks().take(pa.array(there)), time=int(asof.end.timestamp()),
        sequence=catalogue.ids.take(pa.array(sequence[there].ravel(), mask=sequence[there].ravel() < 0)),
        sizes=sizes, item=pairs.candidates[ITEM].combine_chunks(),
        rows={
            "features": matrix(pairs, columns), "reached": reached[chosen], "weight": weight,
            "label": np.isin(key[chosen], taken).astype(np.float32), "score": score[chosen], "rank": rank[chosen],
            **({"channel_rank": channel_ranks(offered, channels)[chosen]} if channels else {}),
        },
        weight=weights.astype(np.float64),
    )  # fmt: skip


def _needed(tables: dict[str, Table | None], name: str, asof: Asof) -> Table:
    table = tables[name]
    if table is None:
        raise StoreError(f"no {name} as of {asof}. Run: narrows run --asof {asof}")
    return table


def _taken(events: Table, asof: Asof, settings: Settings, keys: Keys) -> Array:
    """Keys of what was taken in the horizon after the as-of."""
    from narrows.engine.undo import positives

    last = asof + settings.source.horizon_length
    begin, end = (pa.scalar(each.end, pa.timestamp("us", "UTC")) for each in (asof, last))
    inside: Any = (pc.field(EVENT_TIME) >= begin) & (pc.field(EVENT_TIME) < end)
    return keys.of(positives(events, [USER, ITEM, EVENT_TIME], inside))


def _joined(
    parts: Sequence[Window],
    stages: tuple[str, ...],
    columns: tuple[str, ...],
    channels: tuple[str, ...],
    choice: Choice,
) -> FlowLog:
    """Windows one after another, ids as numbers."""
    ids = pc.unique(pa.chunked_array([ids.cast(pa.string()) for part in parts for ids in (part.item, part.sequence)]))
    ids = ids.drop_null()
    people = pc.unique(pa.chunked_array([part.user.cast(pa.string()) for part in parts]))

    def numbers(values: Sequence[pa.Array], vocabulary: pa.Array) -> Array:
        """The place of each value from 1 on, 0 = null."""
        all_of = pa.chunked_array([each.cast(pa.string()) for each in values]).combine_chunks()
        found = pc.fill_null(pc.index_in(all_of, value_set=vocabulary, skip_nulls=True), -1)
        return found.to_numpy(zero_copy_only=False).astype(np.int64) + 1

    sizes, weight = (np.concatenate([getattr(part, name) for part in parts]) for name in ("sizes", "weight"))
    return FlowLog(
        stages=stages, columns=columns, channels=channels, request_weight=weight if (weight != 1).any() else None,
        seen_from=np.array([name in choice.ranker_only for name in columns], np.int8),
        bounds=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        user=numbers([part.user for part in parts], people) - 1,
        time=np.concatenate([np.full(len(part.user), part.time, np.int64) for part in parts]),
        sequence=numbers([part.sequence for part in parts], ids).astype(np.int32).reshape(-1, LENGTH),
        item=numbers([part.item for part in parts], ids).astype(np.int32),
        **{name: np.concatenate([part.rows[name] for part in parts]) for name in parts[0].rows},
    )  # fmt: skip
