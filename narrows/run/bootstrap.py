"""The first run has no past: make the earlier partitions that it learns from, as runs of those days would have."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from narrows.run.runner import Runner


def bootstrap(runner: Runner, asof: date) -> None:
    """Make what is missing of the earlier as-ofs that the run of ``asof`` learns from; what runs published is kept.

    A source that begins later than the oldest window has fewer windows.

    - Recall's model of the oldest window narrows at every window: it knows none of their labels.
    - A pre-ranker that learned from the older windows alone narrows at the latest ones: its scores there are as
      out of sample as those that it gives today.
    - Examples of a window belong to the partition a horizon later, when its labels are known.

    Raises:
        SourceError: the source has too little history.
    """
    windows, count = runner.windows(asof), runner.room("examples").scored_windows
    if len(windows) <= count:  # a pre-ranker that scores them needs an older one to learn from
        from narrows.source.files import SourceError

        begins, days = runner.events(asof).meta["notes"]["first_day"], runner.horizon.days
        raise SourceError(
            f"[source] begins on {begins}: as of {asof} that is too little to learn from. A run needs {count + 2} horizons "
            f"of {days} days. Choose a later as-of, give older events, or lower [source] horizon."
        )
    scored = windows[-count:]
    runner.bootstrapping = True
    try:
        if missing := [day for day in windows if not runner.published("recall", day)]:
            for profiles in ("user_profiles", "item_profiles"):
                runner.tables(profiles, [day for day in windows if not runner.published(profiles, day)])
            runner.narrow_with("recall", runner.model("recall", windows[0]), missing)
        _examples(runner, [day for day in windows if day not in scored])
        if missing := [day for day in scored if not runner.published("prerank", day)]:
            runner.narrow_with("prerank", runner.model("prerank", scored[0]), missing)
        _examples(runner, scored[:-1])
    finally:
        runner.bootstrapping = False


def _examples(runner: Runner, windows: list[date]) -> None:
    days = [day + runner.horizon for day in windows]
    if missing := [day for day in days if not runner.published("examples", day)]:
        runner.tables("examples", missing)
