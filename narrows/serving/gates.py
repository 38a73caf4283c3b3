"""What a release must be before it may serve."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from narrows.serving.schema import EVERYONE, ServingError

PLACE = ("scene", "user_id")
"""What names a list."""
FALLBACK_PLACE = ("scene", "segment")
"""What names a fallback list."""
NO_ROWS = "there are no rows"


class GateError(ServingError):
    """The release must not be served; the message says why. What was live stays live."""


def gate(rows: pa.Table, fallbacks: pa.Table, forbidden: Collection[str] = ()) -> list[str]:
    """Why a release must not be served, one line each; empty = it may.

    Args:
        rows: scene, user_id, rank, item_id, score, propensity, expires_at.
        fallbacks: scene, segment, rank, item_id.
        forbidden: blocked and taken-down items.
    """
    failed = [] if rows.num_rows else [NO_ROWS]
    for name, table, place in (("lists", rows, PLACE), ("fallback lists", fallbacks, FALLBACK_PLACE)):
        nulls = [c for c in table.column_names if c not in ("segment",) * (table is rows) and table[c].null_count]
        if nulls:
            failed.append(f"{name}: nulls in {', '.join(nulls)}")
            continue
        broken = _broken_ranks(table, place)
        if broken:
            failed.append(f"{name}: ranks are not 1 to m in {broken[0]} of them, first {broken[1]}")
        distinct = table.select([*place, "item_id"]).group_by([*place, "item_id"]).aggregate([]).num_rows
        if distinct < table.num_rows:
            failed.append(f"{name}: {table.num_rows - distinct} rows repeat an item of their list")
        bad = table.filter(pc.is_in(table["item_id"], value_set=pa.array(sorted(forbidden), pa.string())))["item_id"]
        if len(bad):
            ids = sorted(set(bad.to_pylist()))
            failed.append(f"{name}: {len(bad)} rows of blocked or taken-down items, e.g. {', '.join(ids[:3])}")
    low, high = (pc.min_max(rows["propensity"])[each].as_py() for each in ("min", "max"))
    if rows.num_rows and low is not None and not 0 < low <= high <= 1:
        failed.append(f"lists: propensities from {low} to {high}, not in (0, 1]")
    scenes, served = (set(pc.unique(table["scene"]).to_pylist()) for table in (rows, _everyone(fallbacks)))
    if scenes - served:
        failed.append(f"no fallback list for everyone in scene {', '.join(sorted(scenes - served))}")
    return failed


def require(failed: list[str]) -> None:
    """Raise GateError if a gate failed."""
    if failed:
        raise GateError("the release is not published: " + "; ".join(failed))


def without(table: pa.Table, items: Collection[str], place: tuple[str, ...]) -> pa.Table:
    """The table without ``items``; within each list the ranks close up."""
    keep = pc.invert(pc.is_in(table["item_id"], value_set=pa.array(sorted(items), pa.string())))
    if pc.all(keep).as_py() is not False:
        return table
    table = table.filter(keep).sort_by([*((name, "ascending") for name in place), ("rank", "ascending")])
    starts = _starts(table, place)
    since = np.repeat(starts, np.diff(np.append(starts, table.num_rows)))
    rank = pa.array(np.arange(table.num_rows) - since + 1, pa.int32())
    return table.set_column(table.column_names.index("rank"), "rank", rank)


def _starts(table: pa.Table, place: tuple[str, ...]) -> np.ndarray:
    """The first row of every list of a table that is sorted by ``place``."""
    new = np.zeros(table.num_rows, bool)
    new[:1] = True
    for name in place:
        code = pc.dictionary_encode(table[name].combine_chunks()).indices.to_numpy()
        new[1:] |= code[1:] != code[:-1]
    return np.flatnonzero(new)


def _broken_ranks(table: pa.Table, place: tuple[str, ...]) -> tuple[int, str] | None:
    """How many lists do not hold 1..m, and the name of the first."""
    aggregates = [("rank", "min"), ("rank", "max"), ("rank", "count"), ("rank", "count_distinct")]
    lists = table.group_by(list(place)).aggregate(aggregates)
    same = pc.and_(pc.equal(lists["rank_max"], lists["rank_count"]), pc.equal(lists["rank_min"], 1))
    bad = lists.filter(pc.invert(pc.and_(same, pc.equal(lists["rank_count_distinct"], lists["rank_count"]))))
    if not bad.num_rows:
        return None
    return bad.num_rows, "/".join(str(bad[name][0]) for name in place)


def _everyone(fallbacks: pa.Table) -> pa.Table:
    return fallbacks.filter(pc.field("segment") == EVERYONE)
