"""The rows of a release."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Container, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from features.ladder import CONTEXT_STEP, EXPECTED, GROUP_STEPS, STEPS, counted
from narrows.columns import ITEM, PROPENSITY, RANK, REASON, REQUEST_WEIGHT, SCORE, USER
from narrows.serving.gates import PLACE, without
from narrows.stage import Asof, Table
from narrows.store.table import part_name
from narrows.store.write import write_file

BLOCKED = "policy:block"
"""The reason by which the rerank table marks an item that the policy never shows."""
LIST = (USER, ITEM, RANK, SCORE, PROPENSITY, REASON)
GROUPS = (
    "segment_name", *(f"segment_users_{step}" for step in GROUP_STEPS), "context_name", f"context_users_{CONTEXT_STEP}",
)  # fmt: skip


def release_id(asof: Asof, versions: list[str], settings: dict[str, Any]) -> str:
    """``<asof>-<12 hex digits>``: the same versions and settings give the same release."""
    text = json.dumps([versions, settings], sort_keys=True)
    return f"{asof}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def expiry(asof: Asof, horizon: timedelta, grace_hours: float) -> datetime:
    """When a list as of ``asof`` is no longer served: the end of its horizon and the grace (UTC)."""
    return asof.end + horizon + timedelta(hours=grace_hours)


def read_lists(rerank: Table) -> Iterator[pa.Table]:
    """The listed candidates of the rerank table, some users at a time, in the order of users; a list is never cut.

    The users of a flow sample stand first in the table; here they stand among the others.
    """
    listed, sample = pc.field(RANK).is_valid(), pa.table({})
    if rerank.requests:
        inside = pc.field(REQUEST_WEIGHT).is_valid()
        sample = rerank.arrow(list(LIST), where=listed & inside).sort_by(USER)
        listed = listed & ~inside
    given = False
    for rows in rerank.parts(list(LIST), listed):
        if not rows.num_rows:
            continue
        before = 0
        if sample.num_rows:
            before = pc.sum(pc.less_equal(sample[USER], pc.max(rows[USER]))).as_py() or 0
            rows = pa.concat_tables([sample.slice(0, before), rows])
        yield rows
        sample, given = sample.slice(before), True
    if sample.num_rows or not given:
        yield sample if sample.num_columns else rerank.arrow(list(LIST), where=listed)


@dataclass(frozen=True)
class Release:
    """The rows of a release, which are written some users at a time; ``notes`` say afterwards how many they were."""

    pieces: Iterator[pa.Table]
    gone: Collection[str]
    """Items that were taken down."""
    notes: dict[str, Any]

    def save(self, folder: Path) -> None:
        """One file for each piece."""
        folder.mkdir(parents=True, exist_ok=True)
        self.notes.update(lists=0, received=0, taken_down=0)
        for number, piece in enumerate(self.pieces):
            left = without(piece, self.gone, PLACE)
            write_file(left, folder / part_name(number))
            self.notes["lists"] += count(left)
            self.notes["received"] += piece.num_rows
            self.notes["taken_down"] += piece.num_rows - left.num_rows


def laid_over(new: Iterable[pa.Table], before: Table, asof: Asof) -> Iterator[pa.Table]:
    """New lists, then those of an earlier partition that go on: of other users, not expired by the as-of."""
    replaced = pa.array([], pa.string())
    for piece in new:
        replaced = pc.unique(pa.concat_arrays([replaced, piece[USER].combine_chunks()]))
        yield piece
    valid = pc.field("expires_at") > pa.scalar(asof.end, pa.timestamp("us", "UTC"))
    yield from before.parts(where=valid & ~pc.field(USER).isin(replaced))


def offered_before(offered: pa.Array, blocked: Collection[str], before: Table) -> pa.Array:
    """With what an earlier partition shows, where the policy lets it pass still: few users bring few items."""
    found = offered
    for rows in (before.side("fallback").arrow([ITEM]), *before.parts([ITEM])):
        found = pc.unique(pa.concat_arrays([found, rows[ITEM].combine_chunks()]))
    return found.filter(pc.invert(pc.is_in(found, value_set=pa.array(sorted(blocked), pa.string()))))


def read_users(profiles: Table) -> pa.Table:
    """user_id and, where the table has it, segment."""
    return profiles.arrow([name for name in (USER, "segment") if name in profiles.columns])


def read_items(profiles: Table) -> pa.Table:
    """item_id and its popularity, overall, as it is forecast, by segment and by context."""
    wanted = (ITEM, *(counted(step) for step in (*STEPS, EXPECTED)), *GROUPS)
    return profiles.arrow([name for name in profiles.columns if name in wanted])


def blocked(reasons: Iterable[pa.Table]) -> set[str]:
    """The items that the policy never shows; ``reasons`` are item_id and reason of the rerank table, in pieces."""
    return set(_items(reasons, pc.field(REASON) == BLOCKED).to_pylist())


def offered(reasons: Iterable[pa.Table]) -> pa.Array:
    """Items that reached rerank for somebody and that the policy lets pass: eligible and fit to be shown."""
    return _items(reasons, pc.field(REASON) != BLOCKED)


def _items(reasons: Iterable[pa.Table], where: Any) -> pa.Array:
    found = pa.array([], pa.string())
    for rows in reasons:
        found = pc.unique(pa.concat_arrays([found, rows.filter(where)[ITEM].combine_chunks().cast(pa.string())]))
    return found


def unexplained(pieces: Iterable[pa.Table], reasons: Container[str]) -> list[str]:
    """The codes among the rows' ``reason`` that are not of ``reasons``."""
    codes = {code for rows in pieces for code in pc.unique(rows[REASON]).to_pylist()}
    return sorted(code for code in codes if code not in reasons)


def count(rows: pa.Table) -> int:
    """How many lists the rows make."""
    return rows.select(["scene", USER]).group_by(["scene", USER]).aggregate([]).num_rows


def rows(
    lists: pa.Table, users: pa.Table, *, scene: str, release_id: str, batch_id: str, expires_at: datetime
) -> pa.Table:
    """The rows of the recommendation table, by user and rank.

    Args:
        lists: user_id, item_id, rank, score, propensity, reason of the listed candidates.
        users: user_id and optionally segment.
        scene: of every row.
        release_id: of every row.
        batch_id: of every row.
        expires_at: of every row, UTC.
    """
    lists = lists.sort_by([(USER, "ascending"), (RANK, "ascending")])
    segment = pa.nulls(lists.num_rows, pa.string())
    if "segment" in users.column_names:
        at = pc.index_in(lists[USER], value_set=users[USER].combine_chunks().cast(lists[USER].type))
        segment = users["segment"].cast(pa.string()).take(at)
    fixed = {
        "release_id": pa.scalar(release_id),
        "batch_id": pa.scalar(batch_id),
        "scene": pa.scalar(scene),
        "expires_at": pa.scalar(expires_at, pa.timestamp("us", "UTC")),
    }
    same = {name: pa.repeat(value, lists.num_rows) for name, value in fixed.items()}
    own = {name: lists[name] for name in LIST} | {RANK: lists[RANK].cast(pa.int32()), "segment": segment}
    return pa.table({**same, **own})
