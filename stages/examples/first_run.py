"""The first run has no past: make the earlier partitions that it learns from, as runs of those times would have."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from narrows.run import reads
from narrows.source.delimited import SourceError
from narrows.stage import Asof

if TYPE_CHECKING:
    from narrows.run.runner import Runner

LOG = logging.getLogger(__name__)
PROFILES = ("user_profiles", "item_profiles")


def make_windows(runner: Runner, asof: Asof, scored: int, turnover: float) -> None:
    """Make what is missing of the earlier as-ofs that the run of ``asof`` learns from; what runs published is kept.

    A source that begins later than the oldest window has fewer windows.

    - Recall's model of the oldest window narrows at every window: it knows none of their labels. Where items live so
      shortly that it would not know them either (``turnover``), recall is fitted as of each window.
    - A pre-ranker that learned from the older windows alone narrows at the latest ``scored`` ones: its scores there are
      as out of sample as those that it gives today.
    - Examples of a window belong to the partition a horizon later, when its labels are known.

    Raises:
        SourceError: the source has too little history.
    """
    windows = runner.windows(asof)
    if len(windows) <= scored:  # a pre-ranker that scores them needs an older one to learn from
        source = runner.settings.source
        begins = reads.known(runner, runner.source_room, asof).notes["begins"]
        raise SourceError(
            f"[source] begins with {begins}: as of {asof} that is too little to learn from. A run needs {scored + 2} "
            f"horizons of {source.horizon}. Choose a later as-of, give older events, or lower [source] horizon."
        )
    runner.making_past = True
    try:
        if missing := [window for window in windows if not runner.published("recall", window)]:
            for name in PROFILES:
                runner.tables(name, [window for window in windows if not runner.published(name, window)])
            for group in _groups(runner, windows, missing, turnover):
                runner.narrow_with("recall", runner.model("recall", group[0]), group[1])
        _examples(runner, windows[:-scored])
        latest = windows[-scored:]
        if missing := [window for window in latest if not runner.published("prerank", window)]:
            runner.narrow_with("prerank", runner.model("prerank", latest[0]), missing)
        _examples(runner, latest[:-1])
    finally:
        runner.making_past = False


def _groups(runner: Runner, windows: list[Asof], missing: list[Asof], turnover: float) -> list[tuple[Asof, list[Asof]]]:
    """Which model of recall, by its as-of, narrows at which windows."""
    tables = [runner.published("item_profiles", window) for window in (windows[0], windows[-1])]
    oldest, latest = (table.arrow(["item_id", "users_1x", "users_64x"]) for table in tables if table)
    if share := unknown_demand(oldest, latest):
        LOG.info("  %.0f%% of the latest demand is for items that the oldest window did not know", 100 * share)
    return [(window, [window]) for window in missing] if share > turnover else [(windows[0], missing)]


def unknown_demand(oldest: pa.Table, latest: pa.Table) -> float:
    """Of the users of the latest window's items within a horizon, the share whose item had no user in the oldest window."""
    known = oldest.filter(pc.greater(oldest["users_64x"], 0))["item_id"].combine_chunks()
    demand = pc.cast(latest["users_1x"], pa.int64())
    new = pc.invert(pc.is_in(latest["item_id"], value_set=known))
    return float((pc.sum(demand.filter(new)).as_py() or 0) / max(pc.sum(demand).as_py() or 0, 1))


def _examples(runner: Runner, windows: list[Asof]) -> None:
    asofs = [window + runner.horizon for window in windows]
    if missing := [asof for asof in asofs if not runner.published("examples", asof)]:
        runner.tables("examples", missing)
