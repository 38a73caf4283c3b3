"""From the tables of finished runs to a flow log: a request is a user as of a partition."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from narrows.codesign.errors import CodesignError
from narrows.codesign.log import Array, FlowLog
from narrows.codesign.sequences import LENGTH
from narrows.columns import EVENT_TIME, ITEM, KEPT, RANK, REQUEST_WEIGHT, USER, stage_rank, stage_score
from narrows.run import plugins
from narrows.sampling import uniform
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
    parts = []
    for each in asofs[-choice.windows :]:
        LOG.info("as of %s", each)
        parts.append(_window(settings, store, each, events, columns, choice))
    return _joined(parts, settings.pipeline.narrowing, columns, choice)


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


def _window(
    settings: Settings, store: Store, asof: Asof, events: Table, columns: Sequence[str], choice: Choice
) -> Window:  # fmt: skip
    from features.lookup import Catalogue, Pairs, flat
    from features.pair import matrix
    from features.sequence import sequence_item

    names = settings.pipeline.narrowing
    first = settings.pipeline.room(names[0])
    tables = {name: store.current(name, asof) for name in (first.users, first.items, *names)}  # type: ignore[attr-defined]
    received = tables[names[0]]
    assert received is not None
    offered = received.arrow(where=pc.field(KEPT))
    users, items = (_needed(tables, name, asof) for name in (first.users, first.items))  # type: ignore[attr-defined]
    profiles = users.arrow(where=pc.field(USER).isin(pc.unique(offered[USER])))
    catalogue = Catalogue(items.arrow())
    offered = _in_order(offered, profiles, catalogue.ids)
    keys = _Keys(profiles[USER].combine_chunks(), catalogue.ids)
    key = keys.of(offered)
    reached = np.ones(len(key), np.int8)
    score, rank = np.full((len(key), len(names)), np.nan, np.float32), np.zeros((len(key), len(names)), np.int32)
    _fill(offered, names[0], np.arange(len(key)), score[:, 0], rank[:, 0])
    for stage, name in enumerate(names[1:], 1):
        table = tables[name]
        if table is None:
            break
        _passed(table, name, keys, key, reached, stage, score[:, stage], rank[:, stage])
    user = key // keys.items
    chosen, weight = _drawn(offered, user, reached, choice.candidates)
    pairs = Pairs(profiles, catalogue.items, offered.take(pa.array(chosen)), catalogue)
    taken = _taken(events, asof, settings, keys)
    codes = keys.items_of(flat(profiles, "sequence_item")[1])
    sequence = sequence_item(profiles, codes, LENGTH)
    there, sizes = np.unique(user[chosen], return_counts=True)
    return Window(
        user=profiles[USER].combine_chunks().take(pa.array(there)), time=int(asof.end.timestamp()),
        sequence=catalogue.ids.take(pa.array(sequence[there].ravel(), mask=sequence[there].ravel() < 0)),
        sizes=sizes, item=pairs.candidates[ITEM].combine_chunks(),
        rows={
            "features": matrix(pairs, columns), "reached": reached[chosen], "weight": weight,
            "label": np.isin(key[chosen], taken).astype(np.float32), "score": score[chosen], "rank": rank[chosen],
        },
    )  # fmt: skip


def _needed(tables: dict[str, Table | None], name: str, asof: Asof) -> Table:
    table = tables[name]
    if table is None:
        raise StoreError(f"no {name} as of {asof}. Run: narrows run --asof {asof}")
    return table


@dataclass(frozen=True)
class _Keys:
    """A user and an item as one number."""

    users: pa.Array
    ids: pa.Array

    @property
    def items(self) -> int:
        return len(self.ids)

    def items_of(self, ids: pa.Array) -> Array:
        from features.lookup import codes

        return codes(ids, self.ids)

    def of(self, rows: pa.Table) -> Array:
        """int64 [rows]; -1 where the user or the item is unknown."""
        from features.lookup import codes

        user, item = codes(rows[USER], self.users).astype(np.int64), self.items_of(rows[ITEM])
        return np.where((user >= 0) & (item >= 0), user * self.items + item, -1)


def _in_order(offered: pa.Table, profiles: pa.Table, ids: pa.Array) -> pa.Table:
    """Candidates grouped by user in the order of the profiles, each user's by item."""
    key = _Keys(profiles[USER].combine_chunks(), ids).of(offered)
    return offered.take(pa.array(np.argsort(key, kind="stable")))


def _fill(table: pa.Table, name: str, at: Array, score: Array, rank: Array) -> None:
    """Write a room's scores and ranks to the places of its rows."""
    if stage_score(name) in table.column_names:
        score[at] = table[stage_score(name)].to_numpy()
    ranks = next((column for column in (stage_rank(name), RANK) if column in table.column_names), None)
    if ranks:
        rank[at] = pc.fill_null(table[ranks], 0).to_numpy()


def _passed(
    table: Table, name: str, keys: _Keys, key: Array, reached: Array, stage: int, score: Array, rank: Array
) -> None:  # fmt: skip
    """What a later room did: who passed it, its scores and ranks."""
    wanted = [name for name in (stage_score(name), stage_rank(name), RANK) if name in table.columns]
    sampled = pc.field(REQUEST_WEIGHT).is_valid() if REQUEST_WEIGHT in table.columns else None
    rows = table.arrow([USER, ITEM, KEPT, *wanted], sampled)
    of_row = keys.of(rows)
    at = np.minimum(np.searchsorted(key, of_row), len(key) - 1)
    mine = key[at] == of_row
    kept = rows[KEPT].to_numpy(zero_copy_only=False)
    reached[at[mine & kept]] = stage + 1
    _fill(rows.filter(pa.array(mine)), name, at[mine], score, rank)


def _drawn(offered: pa.Table, user: Array, reached: Array, candidates: int) -> tuple[Array, Array]:
    """The rows of a sample, in order, and the inverse of the probability of each.

    Each group of a request that came equally far has the same part of the places, as far as it has candidates.
    """
    if not candidates:
        return np.arange(len(user)), np.ones(len(user), np.float32)
    groups = int(reached.max(initial=1)) + 1
    cell = user * groups + reached
    count = np.bincount(cell, minlength=(int(user.max(initial=0)) + 1) * groups)
    part = -(-candidates // np.maximum((count.reshape(-1, groups) > 0).sum(1), 1))
    texts = pc.binary_join_element_wise(offered[USER].cast(pa.string()), offered[ITEM].cast(pa.string()), "|")
    order = np.lexsort((uniform(texts.to_pylist(), "flow log"), cell))
    place = np.arange(len(cell)) - (np.cumsum(count) - count)[cell[order]]
    chosen = np.sort(order[place < part[user[order]]])
    weight = np.maximum(count[cell] / part[user], 1)[chosen].astype(np.float32)
    return chosen, weight


def _taken(events: Table, asof: Asof, settings: Settings, keys: _Keys) -> Array:
    """Keys of what was taken in the horizon after the as-of."""
    from narrows.engine.undo import positives

    last = asof + settings.source.horizon_length
    begin, end = (pa.scalar(each.end, pa.timestamp("us", "UTC")) for each in (asof, last))
    inside: Any = (pc.field(EVENT_TIME) >= begin) & (pc.field(EVENT_TIME) < end)
    return keys.of(positives(events, [USER, ITEM, EVENT_TIME], inside))


def _joined(parts: Sequence[Window], stages: tuple[str, ...], columns: tuple[str, ...], choice: Choice) -> FlowLog:
    """Windows one after another, ids as numbers."""
    ids = pc.unique(pa.chunked_array([ids.cast(pa.string()) for part in parts for ids in (part.item, part.sequence)]))
    ids = ids.drop_null()
    people = pc.unique(pa.chunked_array([part.user.cast(pa.string()) for part in parts]))

    def numbers(values: Sequence[pa.Array], vocabulary: pa.Array) -> Array:
        """The place of each value from 1 on, 0 = null."""
        all_of = pa.chunked_array([each.cast(pa.string()) for each in values]).combine_chunks()
        found = pc.fill_null(pc.index_in(all_of, value_set=vocabulary, skip_nulls=True), -1)
        return found.to_numpy(zero_copy_only=False).astype(np.int64) + 1

    sizes = np.concatenate([part.sizes for part in parts])
    return FlowLog(
        stages=stages, columns=columns,
        seen_from=np.array([name in choice.ranker_only for name in columns], np.int8),
        bounds=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        user=numbers([part.user for part in parts], people) - 1,
        time=np.concatenate([np.full(len(part.user), part.time, np.int64) for part in parts]),
        sequence=numbers([part.sequence for part in parts], ids).astype(np.int32).reshape(-1, LENGTH),
        item=numbers([part.item for part in parts], ids).astype(np.int32),
        **{name: np.concatenate([part.rows[name] for part in parts]) for name in parts[0].rows},
    )  # fmt: skip
