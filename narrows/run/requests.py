"""Whose requests are narrowed: the audience of an as-of, and the flow sample, of whom every room keeps all it did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from narrows.asof import DAY, Asof
from narrows.columns import EVENT_TIME, USER
from narrows.run import reads, touched
from narrows.run.narrowing import LAST_EVENT
from narrows.sampling import drawn
from narrows.stage import NarrowingStage, Table

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds

    from narrows.run.runner import Runner


def audience(runner: Runner, users: Table) -> ds.Expression | None:
    """Which rows of the users' table get a list; None = all. Between the runs that make lists for everybody: those with an event since."""
    import numpy as np
    import pyarrow.dataset as ds

    horizons, last = runner.settings.audience, ds.field(LAST_EVENT)
    if LAST_EVENT not in users.columns:
        return None
    if since := touched.since(runner, users.asof):
        return last <= float(
            np.float32((users.asof - since) / DAY)
        )  # as the column rounds an event of the first instant
    return last.is_null() | (last <= horizons * (runner.horizon / DAY)) if horizons else None


def sample(runner: Runner, room: NarrowingStage, tables: dict[str, Table], asof: Asof) -> pa.Table | None:
    """The users of the flow sample with ``request_weight``, in the order of the users' table; None = all of the audience.

    The first narrowing room draws them, the others go on with those of the room before.
    """
    before = runner.pipeline.before(room.name)
    if before:
        given = tables[before].requests
        return given.arrow() if given else None
    chosen, users = runner.settings.pipeline_settings, tables[room.users]
    who = audience(runner, users)
    if chosen.mode == "staged" or users.count(who) <= chosen.flow_users:
        return None
    wanted = [USER, *([LAST_EVENT] if LAST_EVENT in users.columns else [])]
    rows = users.arrow(wanted, who)
    return drawn(rows[USER].combine_chunks(), _likely(runner, rows, asof), chosen.flow_users)


def _likely(runner: Runner, rows: pa.Table, asof: Asof) -> Any:
    """Which users have, or are likely to have, an event in the horizon after the as-of: bool (rows,).

    Of an earlier as-of that a first run makes this is known, as its labels are; the weights make up for the choice. Else
    they are the users of the last horizon.
    """
    import numpy as np
    import pyarrow.compute as pc
    import pyarrow.dataset as ds

    if runner.making_past:
        log = reads.known(runner, runner.source_room, asof + runner.horizon)
        time = ds.field(EVENT_TIME)
        active = [
            batch[USER].unique()
            for batch in log.batches([USER], (time >= asof.end) & (time < asof.end + runner.horizon))
        ]
        return pc.is_in(rows[USER], value_set=_union(active)).combine_chunks().to_numpy(zero_copy_only=False)
    if LAST_EVENT not in rows.column_names:
        return np.ones(rows.num_rows, bool)
    near = pc.less_equal(rows[LAST_EVENT], runner.horizon / DAY)
    return pc.fill_null(near, False).combine_chunks().to_numpy(zero_copy_only=False)


def _union(parts: list[pa.Array]) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.unique(pa.chunked_array(parts, pa.string())) if parts else pa.array([], pa.string())
